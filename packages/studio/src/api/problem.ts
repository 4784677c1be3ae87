/** The status of a request that did not reach the server. */
export const UNREACHABLE = 0;

interface ProblemFields {
  /** Of HTTP; 0 if the server was not reached. */
  readonly status: number;
  readonly code?: string | undefined;
  /** The field of the request that is wrong. */
  readonly param?: string | undefined;
  /** The id by which the server's log names the request. */
  readonly requestId?: string | undefined;
}

/** What the API answered instead of a result. */
export class ApiProblem extends Error {
  override readonly name = "ApiProblem";
  readonly status: number;
  readonly code: string | undefined;
  readonly param: string | undefined;
  readonly requestId: string | undefined;

  constructor(message: string, { status, code, param, requestId }: ProblemFields) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
    this.requestId = requestId;
  }
}

const textOf = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;

/** The problem that an answer states. A proxy's page of HTML is not shown: its status says enough. */
export async function readProblem(answer: Response): Promise<ApiProblem> {
  const body: unknown = await answer.json().catch(() => undefined);
  return toProblem(body, {
    status: answer.status,
    requestId: answer.headers.get("x-request-id") ?? undefined,
  });
}

/** The problem in a body or an event such as `{"error": {"message": …}}`. */
export function toProblem(
  body: unknown,
  { status, requestId }: Pick<ProblemFields, "status" | "requestId">,
): ApiProblem {
  const error: Record<string, unknown> =
    typeof body === "object" && body !== null && "error" in body ? Object(body.error) : {};
  return new ApiProblem(textOf(error["message"]) ?? `the server answered with status ${status}`, {
    status,
    requestId,
    code: textOf(error["code"]),
    param: textOf(error["param"]),
  });
}

/** What to show of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Whether somebody cancelled the request. */
export const isAbort = (error: unknown): boolean => error instanceof Error && error.name === "AbortError";
