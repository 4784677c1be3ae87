import { Component, type ComponentChildren, type ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api, connection } from "#api";
import { href, navigate, route, type ViewProps } from "#core";
import { Button, Empty, Problem, Waiting } from "#ui";
import { VIEWS } from "#views";

interface Loaded {
  readonly view: string;
  readonly Shown?: ComponentType<ViewProps>;
  readonly error?: unknown;
}

/** Loads a view, and again when a server that was away is back. */
function useLoaded(view: string): Loaded {
  const [loaded, setLoaded] = useState<Loaded>({ view: "" });
  const isUp = connection.value === "up";
  useEffect(() => {
    let isCurrent = true;
    const show = (next: Loaded): void => {
      if (isCurrent) setLoaded(next);
    };
    const fail = (error: unknown): void => {
      show({ view, error });
      // whether it is the server, which this request then notices
      api.answer("GET", "/health").catch(() => {});
    };
    VIEWS[view]?.load().then(({ default: Shown }) => show({ view, Shown }), fail);
    return () => {
      isCurrent = false;
    };
  }, [view, isUp]);
  return loaded;
}

/** The view that the address names. The one before stays until it is loaded. */
export function ViewFrame() {
  const { view, id, query } = route.value;
  const { Shown, error, view: place } = useLoaded(view);
  const title = VIEWS[view]?.title;
  useEffect(() => {
    document.title = `${id === undefined ? "" : `${id} · `}${title ?? "Not found"} · Studio`;
  }, [title, id]);
  if (title === undefined) return <NotFound />;
  if (error !== undefined && place === view) return <NotLoaded />;
  if (Shown === undefined) return <Waiting />;
  return (
    <Boundary key={place}>
      {place === view ? <Shown key={`${view}/${id ?? ""}`} id={id} query={query} /> : <Waiting />}
    </Boundary>
  );
}

const UNLOADED = new Error(
  "This view couldn't be loaded. The server may have been updated: reload the page.",
);

const NotLoaded = () => (
  <div class="page">
    {connection.value === "away" ? (
      <Empty title="This view hasn't loaded" isPage>
        It comes as soon as the server is back.
      </Empty>
    ) : (
      <Problem error={UNLOADED} retry={() => location.reload()} />
    )}
  </div>
);

const NotFound = () => (
  <Empty
    title="Page not found"
    isPage
    action={
      <Button kind="primary" onClick={() => navigate(href("runs"))}>
        All runs
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
