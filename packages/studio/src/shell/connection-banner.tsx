import { connection } from "#api";
import { Icon } from "#ui";
import "./shell.css";

/** Says that the server is away, until it is back. It lies above the view, and moves nothing. */
export function ConnectionBanner() {
  return (
    <div class="connection" role="status">
      {connection.value === "away" && (
        <p class="raised beside">
          <Icon name="alert" />
          The server cannot be reached. Trying again …
        </p>
      )}
    </div>
  );
}
