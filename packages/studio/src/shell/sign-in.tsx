import { useState } from "preact/hooks";
import { isRefused, loadConfig, messageOf, needsKey, signIn } from "#api";
import { Field, FormDialog, TextInput } from "#ui";

/** Asks for the key that the server wants. What was asked for meanwhile goes on as soon as it has one. */
export function SignIn() {
  return needsKey.value ? <SignInDialog /> : null;
}

function SignInDialog() {
  const [key, setKey] = useState("");
  const submit = async (): Promise<void> => {
    await signIn(key.trim());
    await loadConfig();
  };
  return (
    <FormDialog
      title="Sign in"
      action="Sign in"
      isReady={key.trim() !== ""}
      submit={submit}
      fields={(error) => (
        <>
          {isRefused.value && (
            <p role="alert">
              The key that you signed in with no longer works: it was revoked or has expired. Sign in with
              another one.
            </p>
          )}
          <p class="muted">This server asks for an API key. It stays in a cookie that no script can read.</p>
          <Field label="API key" error={error === undefined ? undefined : messageOf(error)}>
            <TextInput type="password" value={key} onInput={setKey} autoFocus mono />
          </Field>
        </>
      )}
    />
  );
}
