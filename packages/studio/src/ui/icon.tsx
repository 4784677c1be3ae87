import "./button.css";

/** Drawings on a grid of 16, by strokes of 1.5. */
const DRAWINGS = {
  adapters: "M2.5 3.5h5v3h-5zM2.5 9.5h3v3h-3zM10.5 3.5h3v3h-3zM8.5 9.5h5v3h-5z",
  alert: "M8 2.2 14.3 13.3H1.7zM8 6.5v3M8 11.4v.1",
  arrowDown: "M8 3v10M4 9l4 4 4-4",
  arrowLeft: "M13 8H3M7 4 3 8l4 4",
  arrowRight: "M3 8h10M9 4l4 4-4 4",
  arrowUp: "M8 13V3M4 7l4-4 4 4",
  check: "M3 8.5 6.5 12 13 4.5",
  chevronDown: "M4 6l4 4 4-4",
  close: "M4 4l8 8M12 4l-8 8",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  compare: "M2.5 3h4v10h-4zM9.5 3h4v10h-4z",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  dark: "M13 9.8A5.6 5.6 0 0 1 6.2 3 5.6 5.6 0 1 0 13 9.8z",
  download: "M8 2.5v7.5M4.5 7 8 10.5 11.5 7M2.5 13.5h11",
  edit: "M3 13l.6-2.8L10.8 3 13 5.2 5.8 12.400z",
  keys: "M6.5 9.500a3 3 0 1 1 0-.1zM6.3 8.500H14v2.500M11 8.500v2",
  lessons: "M1.5 6 8 3l6.5 3L8 9zM4.500 7.500v3.500c2 1.800 5 1.800 7 0V7.500M14.500 6v4",
  light:
    "M8 5.200a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.600zM8 1.500v1.300M8 13.200v1.300M1.5 8h1.300M13.2 8h1.300M3.4 3.400l.9.9M11.7 11.700l.9.9M3.4 12.600l.9-.9M11.7 4.300l.9-.9",
  more: "M3.5 8v.01M8 8v.01M12.5 8v.01",
  pause: "M5.5 3.500v9M10.5 3.500v9",
  play: "M5 3.200v9.600L12.8 8z",
  plus: "M8 3v10M3 8h10",
  refresh: "M13 8a5 5 0 1 1-1.5-3.550M13 2.500v3h-3",
  runs: "M2.5 2.500v11h11M5 10.500l2.5-4 2.5 2 3.5-5",
  search: "M7 2.500a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.3 10.3 14 14",
  signOut: "M6.5 2.500h-4v11h4M6.5 8H14M11 5l3 3-3 3",
  sliders: "M2 5h6.500M12 5h2M8.500 3.250H12v3.500H8.500zM2 11h2M7.500 11H14M4 9.250h3.500v3.500H4z",
  stop: "M4 4h8v8H4z",
  system:
    "M4.5 4.500h7v7h-7zM6.5 1.500v3M9.5 1.500v3M6.5 11.500v3M9.5 11.500v3M1.5 6.500h3M1.5 9.500h3M11.5 6.500h3M11.5 9.500h3",
  trash: "M2.5 4.500h11M6 4.500v-2h4v2M4 4.500l.6 9h6.800l.6-9",
  undo: "M3 6.500h7a3.5 3.5 0 0 1 0 7H6M6 3.5 3 6.500l3 3",
  upload: "M8 10.500V3M4.5 6 8 2.5 11.5 6M2.5 13.500h11",
} as const;

/** The name of a drawing. */
export type IconName = keyof typeof DRAWINGS;

/** A drawing that says nothing by itself: whatever it stands in has a name. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={DRAWINGS[name]} />
    </svg>
  );
}
