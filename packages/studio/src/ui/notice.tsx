import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiProblem, messageOf } from "#api";
import { Button } from "./button.tsx";
import { Icon } from "./icon.tsx";
import "./notice.css";

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
    <div class="empty">
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
    <div class="problem" role="alert">
      <Icon name="alert" />
      <p>
        {messageOf(error)}
        {requestId !== undefined && <span class="request-id"> Request {requestId}</span>}
      </p>
      {retry && <Button onClick={retry}>Try again</Button>}
    </div>
  );
}

const PATIENCE_MS = 300;

interface WaitingProps {
  readonly label?: string | undefined;
}

/** Stands where something will be. It shows itself only to who waits for a while. */
export function Waiting({ label = "Loading" }: WaitingProps) {
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
export const Pending = ({ label, error, retry }: ProblemProps & WaitingProps) =>
  error === undefined ? <Waiting label={label} /> : <Problem error={error} retry={retry} />;
