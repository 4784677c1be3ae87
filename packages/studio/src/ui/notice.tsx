import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiProblem, messageOf } from "#api";
import { Button } from "./button.tsx";
import { Icon } from "./icon.tsx";
import "./notice.css";

interface PageProps {
  readonly title: string;
  /** The view's name in its style sheet. */
  readonly kind?: string;
  /** What stands beside the title. */
  readonly beside?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** A view with its title. */
export const Page = ({ title, kind = "", beside, children }: PageProps) => (
  <div class={`page ${kind}`}>
    <div class="page-head">
      <h1>{title}</h1>
      {beside}
    </div>
    {children}
  </div>
);

/** Values by their names. */
export type FactList = readonly (readonly [name: string, value: ComponentChildren])[];

/** What is known of something. */
export const Facts = ({ kind = "", facts }: { readonly kind?: string; readonly facts: FactList }) => (
  <dl class={`facts ${kind}`}>
    {facts.map(([name, value]) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </div>
    ))}
  </dl>
);

interface EmptyProps {
  readonly title: string;
  /** Where it is the whole page. */
  readonly isPage?: boolean;
  /** What to do about it. */
  readonly children?: ComponentChildren;
  readonly action?: ComponentChildren;
}

/** Nothing to show, and what to do about it. */
export function Empty({ title, isPage, children, action }: EmptyProps) {
  return (
    <div class="stack empty">
      {isPage === true ? <h1>{title}</h1> : <h2>{title}</h2>}
      {children && <p>{children}</p>}
      {action}
    </div>
  );
}

interface ProblemProps {
  readonly error: unknown;
  /** Tries again. */
  readonly retry?: (() => void) | undefined;
}

/** What went wrong, with the id by which the server's log names the request. */
export function Problem({ error, retry }: ProblemProps) {
  const requestId = error instanceof ApiProblem ? error.requestId : undefined;
  return (
    <div class="beside problem" role="alert">
      <Icon name="alert" />
      <p class="fill">
        {messageOf(error)}
        {requestId !== undefined && <span class="muted small"> Request {requestId}</span>}
      </p>
      {retry && <Button onClick={retry}>Try again</Button>}
    </div>
  );
}

const PATIENCE_MS = 300;

/** Stands where something will be. It shows itself only to who waits for a while. */
export function Waiting({ label = "Loading" }: { readonly label?: string | undefined }) {
  const [isLong, setLong] = useState(false);
  useEffect(() => {
    const timer = setTimeout(setLong, PATIENCE_MS, true);
    return () => clearTimeout(timer);
  }, []);
  return (
    <p class="waiting" role="status">
      {isLong && `${label} …`}
    </p>
  );
}

/** Stands where something will be, or says why it is not there. */
export const Pending = ({ label, error, retry }: ProblemProps & Parameters<typeof Waiting>[0]) =>
  error === undefined ? <Waiting label={label} /> : <Problem error={error} retry={retry} />;
