import type { ComponentChildren } from "preact";
import "./button.css";
import { Icon, type IconName } from "./icon.tsx";

interface ButtonProps {
  readonly kind?: "primary" | "plain" | "danger";
  /** Waits for an answer; it cannot be pressed meanwhile, and keeps its width. */
  readonly busy?: boolean | undefined;
  readonly disabled?: boolean | undefined;
  readonly icon?: IconName;
  readonly type?: "button" | "submit";
  /** More than the text says, for who points at it. */
  readonly title?: string | undefined;
  readonly onClick?: (event: MouseEvent) => void;
  readonly children: ComponentChildren;
}

/** Something to press. */
export function Button({ kind = "plain", busy, disabled, icon, children, ...rest }: ButtonProps) {
  return (
    <button
      {...rest}
      type={rest.type ?? "button"}
      class={`button ${kind}`}
      disabled={disabled === true || busy === true}
      aria-busy={busy}
    >
      {icon && <Icon name={icon} />}
      <span>{children}</span>
    </button>
  );
}

type LinkProps = Pick<ButtonProps, "kind" | "icon" | "children"> & { readonly href: string };

/** A link that looks like a button. */
export function LinkButton({ href, kind = "plain", icon, children }: LinkProps) {
  return (
    <a href={href} class={`button ${kind}`}>
      {icon && <Icon name={icon} />}
      <span>{children}</span>
    </a>
  );
}

interface IconButtonProps extends Pick<ButtonProps, "disabled" | "onClick"> {
  /** What it does, for those who do not see the drawing, and as its tooltip. */
  readonly label: string;
  readonly icon: IconName;
  readonly expanded?: boolean | undefined;
}

/** A button with a drawing instead of text. */
export function IconButton({ label, icon, disabled, expanded, onClick }: IconButtonProps) {
  return (
    <button
      type="button"
      class="icon-button"
      title={label}
      aria-label={label}
      aria-expanded={expanded}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
