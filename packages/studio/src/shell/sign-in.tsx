import { useState } from "preact/hooks";
import { isRefused, loadConfig, messageOf, needsKey, signIn } from "#api";
import { Button, Dialog, DialogActions, Field, TextInput } from "#ui";
import "./sign-in.css";

/** Asks for the key that the server wants. What was asked for meanwhile goes on as soon as it has one. */
export function SignIn() {
  return needsKey.value ? <SignInDialog /> : null;
}

function SignInDialog() {
  const [key, setKey] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(key.trim());
      await loadConfig();
    } catch (problem) {
      setError(messageOf(problem));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title="Sign in">
      <form class="sign-in" onSubmit={submit}>
        {isRefused.value && (
          <p role="alert">
            The key that you signed in with no longer works: it was revoked or has expired. Sign in with
            another one.
          </p>
        )}
        <p class="muted">This server asks for an API key. It stays in a cookie that no script can read.</p>
        <Field label="API key" error={error}>
          <TextInput type="password" value={key} onInput={setKey} autoFocus mono />
        </Field>
        <DialogActions>
          <Button type="submit" kind="primary" busy={isBusy} disabled={key.trim() === ""}>
            Sign in
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
