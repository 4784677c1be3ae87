/** Fields in which transformers 5 refuses a whole number that has no decimal point. */
const CAPS = /("(?:attn|final)_logit_softcapping": -?\d+)(?=[,\s])/g;

/** The text of a config.json, which JSON.stringify alone would give without the points that transformers asks for. */
export const configText = (config: unknown): string =>
  `${JSON.stringify(config, null, 2).replace(CAPS, "$1.0")}\n`;
