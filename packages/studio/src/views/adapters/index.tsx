// The adapters of the server: all of them in a table, or one by its name.
import type { ViewProps } from "#core";
import { AdapterDetail } from "./detail.tsx";
import { AdapterList } from "./list.tsx";
import "./adapters.css";

export default function View({ id }: ViewProps) {
  return id === undefined ? <AdapterList /> : <AdapterDetail name={id} />;
}
