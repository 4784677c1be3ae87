import "./notice.css";

const WIDTH = 96;
const HEIGHT = 24;

/** Points of a line within the drawing, with room for the stroke; undefined for fewer than two values. */
export function sparklinePath(values: readonly number[]): string | undefined {
  const known = values.filter(Number.isFinite);
  if (known.length < 2) return undefined;
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const range = most - least || 1;
  return known
    .map((value, at) => {
      const x = 1 + (at / (known.length - 1)) * (WIDTH - 2);
      const y = HEIGHT - 2 - ((value - least) / range) * (HEIGHT - 4);
      return `${at === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
}

interface SparklineProps {
  readonly values: readonly number[];
  /** What it shows, for those who do not see it. */
  readonly label: string;
}

/** A curve in the size of a word. */
export function Sparkline({ values, label }: SparklineProps) {
  const path = sparklinePath(values);
  if (path === undefined) return <span class="sparkline" />;
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
      <path d={path} />
    </svg>
  );
}
