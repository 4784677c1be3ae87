import type { Query } from "#core";
import { Empty } from "#ui";

interface ViewProps {
  readonly id: string | undefined;
  readonly query: Query;
}

export default function View(_: ViewProps) {
  return (
    <div class="page">
      <div class="page-head">
        <h1>System</h1>
      </div>
      <Empty title="Nothing here yet" />
    </div>
  );
}
