// Parts of a message other than text: images, audio and files, as OpenAI's and other clients and data sets write them.

const KINDS: Readonly<Record<string, string>> = {
  image_url: "an image",
  input_image: "an image",
  image_file: "an image",
  image: "an image",
  input_audio: "audio",
  audio_url: "audio",
  audio: "audio",
  video_url: "a video",
  video: "a video",
  input_file: "a file",
  file: "a file",
  document: "a file",
};

/** Maximum number of parts that are checked; an invalid list may have millions. */
const LOOKED_AT = 1000;

/**
 * The first image, sound or file among the parts of a message's content, with its description for messages: `an image (type
 * "image_url")`; undefined where there is none.
 */
export function mediaPart(content: unknown): { readonly index: number; readonly what: string } | undefined {
  if (!Array.isArray(content)) return undefined;
  for (const [index, part] of content.slice(0, LOOKED_AT).entries()) {
    const type: unknown = part?.type;
    if (typeof type === "string" && Object.hasOwn(KINDS, type))
      return { index, what: `${KINDS[type]} (type "${type}")` };
  }
  return undefined;
}
