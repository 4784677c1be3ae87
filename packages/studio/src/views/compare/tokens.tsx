// Tokens shaded by how likely they were, and what else could have stood in the place of one.
import { useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { formatShare } from "#core";
import { type Token, tokenTexts } from "./answer.ts";

/** Shares from which on a token is shaded less. */
const STEPS = [0.9, 0.6, 0.3, 0.1];

const shareOf = (logprob: number | null): number | undefined =>
  logprob === null ? undefined : Math.exp(logprob);

const shade = (logprob: number | null): number => {
  const share = shareOf(logprob) ?? 1;
  return STEPS.filter((step) => share < step).length;
};

/** White space can be seen, and quotation marks keep it apart. */
const shown = (text: string): string => text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣");

/** A list with one stop for the keyboard, in which arrows go from token to token; `name` is whose answer it is. */
export function Tokens({ name, tokens }: { readonly name: string; readonly tokens: readonly Token[] }) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | undefined>(undefined);
  const [hasFocus, setFocus] = useState(false);
  const options = useMemo(
    () =>
      tokenTexts(tokens).map((text, i) => (
        <span
          key={i}
          id={`${id}-${i}`}
          role="option"
          aria-selected={false}
          class={`shade-${shade(tokens[i]?.logprob ?? null)}`}
          data-token={i}
        >
          {text}
        </span>
      )),
    [tokens, id],
  );
  // one mark moves over thousands of tokens, which are not drawn again for it
  useLayoutEffect(() => {
    const token = at === undefined ? undefined : list.current?.children[at];
    if (!(token instanceof HTMLElement)) return;
    token.setAttribute("aria-selected", "true");
    if (hasFocus) token.scrollIntoView({ block: "nearest" });
    return () => token.setAttribute("aria-selected", "false");
  }, [at, hasFocus, options]);
  const onKeyDown = (event: KeyboardEvent): void => {
    const last = tokens.length - 1;
    const to = { ArrowRight: (at ?? -1) + 1, ArrowLeft: (at ?? 1) - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    setAt(Math.min(Math.max(to, 0), last));
  };
  const onPointerOver = ({ target }: PointerEvent): void => {
    const token = target instanceof HTMLElement ? target.dataset["token"] : undefined;
    if (token !== undefined) setAt(Number(token));
  };
  return (
    <>
      <div
        ref={list}
        class="answer-text tokens"
        role="listbox"
        aria-label={`Tokens of ${name}`}
        aria-activedescendant={at === undefined ? undefined : `${id}-${at}`}
        tabIndex={0}
        onKeyDown={onKeyDown}
        onPointerOver={onPointerOver}
        onFocus={() => {
          setFocus(true);
          setAt((now) => now ?? 0);
        }}
        onBlur={() => setFocus(false)}
      >
        {options}
      </div>
      <Alternatives token={at === undefined ? undefined : tokens[at]} isLive={hasFocus} />
    </>
  );
}

/** The token that is looked at, and the likeliest ones in its place. */
function Alternatives({ token, isLive }: { readonly token: Token | undefined; readonly isLive: boolean }) {
  return (
    <div
      class="alternatives small"
      role="group"
      aria-label="Alternatives"
      aria-live={isLive ? "polite" : "off"}
    >
      {token === undefined ? (
        <p class="muted">Hover over a token, or use the arrow keys, to see the alternatives.</p>
      ) : (
        <>
          <p>
            <code>{shown(token.text)}</code> {formatShare(shareOf(token.logprob))}
          </p>
          <ol>
            {token.top.map(({ text, logprob }) => (
              <li key={text} class={text === token.text ? "taken" : undefined}>
                <code class="cut">{shown(text)}</code>
                <span class="bar">
                  <span style={{ width: `${100 * Math.exp(logprob)}%` }} />
                </span>
                <span>{formatShare(Math.exp(logprob))}</span>
              </li>
            ))}
          </ol>
        </>
      )}
    </div>
  );
}
