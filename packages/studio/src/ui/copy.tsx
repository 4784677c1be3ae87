import { useState } from "preact/hooks";
import { IconButton } from "./button.tsx";
import "./button.css";

/** Copies text. Pages without HTTPS have no clipboard but the old command. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

interface CopyProps {
  readonly text: string;
  /** What is copied, for the button's name. */
  readonly label?: string;
}

/** A button that copies text, and says so. */
export function Copy({ text, label = "Copy" }: CopyProps) {
  const [isCopied, setCopied] = useState(false);
  const onClick = async (): Promise<void> => {
    await copy(text);
    setCopied(true);
    setTimeout(setCopied, 1500, false);
  };
  return (
    <span class="copy">
      <IconButton label={label} icon={isCopied ? "check" : "copy"} onClick={onClick} />
      <span class="unseen" role="status">
        {isCopied && "Copied"}
      </span>
    </span>
  );
}
