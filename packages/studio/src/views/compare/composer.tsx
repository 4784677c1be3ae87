// Where the next turn is written.
import { set } from "#core";
import { Button } from "#ui";
import { draft, session, settingProblems } from "./current.ts";

/** Sends what is written; the next text takes the place of the one before where it is to be continued, not answered. */
function send(): void {
  const text = draft.value;
  if (text.trim() === "" || whyNot() !== undefined) return;
  if (session.settings.value.mode === "chat") {
    draft.value = "";
    void session.send(text);
  } else void session.edit(0, text);
}

/** Why nothing can be sent now. */
function whyNot(): string | undefined {
  if (session.isRunning.value) return "Answers are being made";
  if (session.models.value.length === 0) return "Choose a model first";
  const [problem] = Object.values(settingProblems.value);
  return problem === undefined ? undefined : `Settings: ${problem}`;
}

/** Enter sends, as everywhere; composed characters end with one, too. */
function onKeyDown(event: KeyboardEvent): void {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
}

export function Composer() {
  const { mode } = session.settings.value;
  const isRunning = session.isRunning.value;
  const reason = isRunning ? undefined : whyNot();
  return (
    <div class="composer">
      <textarea
        class="control"
        rows={2}
        aria-label={mode === "chat" ? "Message to all models" : "Text to continue"}
        placeholder={mode === "chat" ? "Message all models" : "Text for all models to continue"}
        value={draft.value}
        onInput={(event) => set(draft, event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      {/* one button, which keeps the focus */}
      <Button
        kind={isRunning ? "plain" : "primary"}
        icon={isRunning ? "stop" : "arrowUp"}
        disabled={!isRunning && (reason !== undefined || draft.value.trim() === "")}
        title={isRunning ? undefined : "Enter to send, Shift+Enter for a new line"}
        onClick={() => (isRunning ? session.stop() : send())}
      >
        {isRunning ? "Stop" : "Send"}
      </Button>
      <p class="reason muted small cut">{reason}</p>
    </div>
  );
}
