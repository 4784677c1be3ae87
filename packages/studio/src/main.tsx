import { render } from "preact";
import { loadConfig } from "#api";
import { App } from "./app.tsx";
import "./styles/tokens.css";
import "./styles/base.css";

const place = document.getElementById("studio");
if (place !== null) render(<App />, place);
// without it, the page shows all views; their requests say what is wrong
loadConfig().catch(() => {});
