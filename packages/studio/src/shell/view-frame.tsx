import { Component, type ComponentChildren, type ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { href, navigate, route } from "#core";
import { Button, Empty, Problem, Waiting } from "#ui";
import { VIEWS, type ViewProps } from "#views";

interface Loaded {
  readonly view: string;
  readonly Shown?: ComponentType<ViewProps>;
  readonly error?: unknown;
}

/** The view that the address names. The one before stays until it is loaded. */
export function ViewFrame() {
  const { view, id, query } = route.value;
  const entry = VIEWS[view];
  const [loaded, setLoaded] = useState<Loaded>({ view: "" });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    const show = (next: Loaded): void => {
      if (isCurrent) setLoaded(next);
    };
    entry?.load().then(
      ({ default: Shown }) => show({ view, Shown }),
      (error: unknown) => show({ view, error }),
    );
    return () => {
      isCurrent = false;
    };
  }, [view, attempt]);
  useEffect(() => {
    document.title = `${id === undefined ? "" : `${id} · `}${entry?.title ?? "Not found"} · Studio`;
  }, [view, id]);
  if (entry === undefined) return <NotFound />;
  const { Shown, error } = loaded;
  if (error !== undefined)
    return (
      <div class="page">
        <Problem error={error} retry={() => setAttempt(attempt + 1)} />
      </div>
    );
  if (Shown === undefined) return <Waiting />;
  return (
    <Boundary key={loaded.view}>
      {loaded.view === view ? <Shown key={`${view}/${id ?? ""}`} id={id} query={query} /> : <Waiting />}
    </Boundary>
  );
}

const NotFound = () => (
  <Empty
    title="There is no such view"
    isPage
    action={
      <Button kind="primary" onClick={() => navigate(href("runs"))}>
        To the runs
      </Button>
    }
  >
    The address names none of the studio's views.
  </Empty>
);

/** Keeps an error of one view from taking the page with it. */
class Boundary extends Component<{ readonly children: ComponentChildren }, { readonly error?: unknown }> {
  override state: { readonly error?: unknown } = {};

  override componentDidCatch(error: unknown): void {
    this.setState({ error });
    // so that it stands in the console, and in reports of it
    setTimeout(() => {
      throw error;
    });
  }

  override render() {
    if (this.state.error === undefined) return this.props.children;
    return (
      <div class="page">
        <Problem error={this.state.error} retry={() => location.reload()} />
      </div>
    );
  }
}
