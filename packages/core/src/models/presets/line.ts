// A line of published models: what they share, and the sizes by which they differ.

/** A published model. */
export interface Preset {
  /** Its name on the Hugging Face Hub; of the model that chats, where there are several. */
  readonly repository: string;
  readonly license: string;
  /** What its config.json and generation_config.json state beyond its family's defaults. */
  readonly config: object;
}

/** Sizes by which the models of a line differ. */
export type Sizes = readonly [
  hidden: number,
  intermediate: number,
  layers: number,
  heads: number,
  keyValueHeads?: number,
];

/** Makes the models of a line; without a fifth size, one has as many key-value heads as its family assumes. */
export const line =
  (license: string, shared: { readonly model_type: string } & Readonly<Record<string, unknown>>) =>
  (
    repository: string,
    [hidden, intermediate, layers, heads, keyValueHeads]: Sizes,
    more: object = {},
  ): Preset => ({
    repository,
    license,
    config: {
      ...shared,
      hidden_size: hidden,
      intermediate_size: intermediate,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: keyValueHeads,
      ...more,
    },
  });
