import "./styles/tokens.css";
import "./styles/base.css";
import { render } from "preact";
import { loadConfig } from "#api";
import { ConnectionBanner, Navigation, SignIn, useShellCommands, ViewFrame } from "#shell";
import { Palette, Toasts } from "#ui";

/** The frame around every view: navigation, command palette, messages, the way in. */
function App() {
  useShellCommands();
  return (
    <div class="app">
      <a class="skip" href="#content">
        Skip to content
      </a>
      <Navigation />
      <main id="content" tabIndex={-1}>
        <ConnectionBanner />
        <ViewFrame />
      </main>
      <Palette />
      <SignIn />
      <Toasts />
    </div>
  );
}

const place = document.getElementById("studio");
if (place !== null) render(<App />, place);
// without it, the page shows all views; their requests say what is wrong
loadConfig().catch(() => {});
