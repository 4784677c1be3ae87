import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import "./button.css";

/** One of several panels. */
export interface Tab {
  readonly id: string;
  readonly title: ComponentChildren;
}

interface TabsProps {
  readonly label: string;
  readonly tabs: readonly Tab[];
  readonly value: string;
  readonly onChange: (id: string) => void;
  /** The panel of the tab that is open. */
  readonly children: ComponentChildren;
}

const STEPS: Readonly<Record<string, number>> = { ArrowLeft: -1, ArrowRight: 1 };

/** Panels of which one is open. Arrows go from tab to tab. */
export function Tabs({ label, tabs, value, onChange, children }: TabsProps) {
  const id = useId();
  // ids in HTML have no blanks
  const tabId = (of: string): string => `${id}-${tabs.findIndex((tab) => tab.id === of)}`;
  const onKeyDown = (event: KeyboardEvent & { readonly currentTarget: HTMLElement }): void => {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const at = tabs.findIndex((tab) => tab.id === value) + step;
    const next = (at + tabs.length) % tabs.length;
    onChange(tabs[next]?.id ?? value);
    event.currentTarget.querySelectorAll("button")[next]?.focus();
  };
  return (
    <div class="tabs">
      <div role="tablist" aria-label={label} onKeyDown={onKeyDown}>
        {tabs.map((tab) => (
          <button
            key={tab.id}
            type="button"
            role="tab"
            id={tabId(tab.id)}
            aria-selected={tab.id === value}
            aria-controls={`${id}-panel`}
            tabIndex={tab.id === value ? 0 : -1}
            onClick={() => onChange(tab.id)}
          >
            {tab.title}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={tabId(value)}>
        {children}
      </div>
    </div>
  );
}
