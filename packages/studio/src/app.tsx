// The frame around every view: navigation, command palette, messages, the way in.

import { ConnectionBanner, Navigation, SignIn, useShellCommands, ViewFrame } from "#shell";
import { Palette, Toasts } from "#ui";
import "./styles/app.css";

/** The page. */
export function App() {
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
