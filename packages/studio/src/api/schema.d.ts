// Made by npm run studio:types from the server's OpenAPI document.
export interface paths {
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Liveness probe: process and engine */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Both are up. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {string} */
                            status: "up";
                        };
                    };
                };
                /** @description The engine has exited or does not respond. */
                503: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            reason: string;
                            /** @enum {string} */
                            status: "broken" | "stuck";
                        };
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Prometheus metrics (administrators) */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Metrics in Prometheus' text format. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Readiness probe: accepting requests */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Requests are accepted. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {string} */
                            status: "ready";
                        };
                    };
                };
                /** @description Requests are not accepted. */
                503: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            reason: string;
                            /** @enum {string} */
                            status: "draining" | "broken" | "stuck" | "storage_unavailable";
                        };
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/adapters": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the adapters that the key may use */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The adapters with their sizes. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["AdapterList"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        /** Upload or replace an adapter (administrators) */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["AdapterUpload"];
                    "multipart/form-data": components["schemas"]["AdapterForm"];
                };
            };
            responses: {
                /** @description The adapter. */
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Adapter"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/adapters/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Delete an adapter (administrators) */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The adapter was deleted. Running requests finish with it. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {boolean} */
                            deleted: true;
                            id: string;
                            /** @enum {string} */
                            object: "adapter";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/adapters/{name}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the files of an adapter in another format, or download one
         * @description Administrators, owners of fine-tuned models, and everybody where there are no keys.
         */
        get: {
            parameters: {
                query: {
                    /** @description Download this file in place of the list of files. */
                    file?: string;
                    /** @description mos: the adapter's own files; peft and gguf: a plain LoRA for PEFT and vLLM, or llama.cpp. */
                    format: "mos" | "peft" | "gguf";
                };
                header?: never;
                path: {
                    /** @description Name of the adapter. */
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The list, or with file the content of one. Its ETag is the digest of the adapter. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["AdapterExport"];
                        "application/octet-stream": string;
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/adapters/{name}/layers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Describe the layers of an adapter: rows of the pools, and norms */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Name of the adapter. */
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The layers, by target and then by layer. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["AdapterLayers"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/aliases": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List aliases */
        get: {
            parameters: {
                query?: {
                    /** @description Last id of the previous page. */
                    after?: string;
                    limit?: number;
                    /** @description Administrators only: name of the tenant that owns the alias. */
                    tenant?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page of aliases, newest first. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["Alias"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/aliases/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Retrieve an alias */
        get: {
            parameters: {
                query?: {
                    /** @description Administrators only: name of the tenant that owns the alias. */
                    tenant?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The updated alias. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Alias"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        /**
         * Create an alias or point it to another model
         * @description Requests that start after the response use the new model, on every server.
         */
        put: {
            parameters: {
                query?: {
                    /** @description Administrators only: name of the tenant that owns the alias. */
                    tenant?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["SetAliasRequest"];
                };
            };
            responses: {
                /** @description The updated alias. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Alias"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        post?: never;
        /** Delete an alias */
        delete: {
            parameters: {
                query?: {
                    /** @description Administrators only: name of the tenant that owns the alias. */
                    tenant?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The alias was deleted; its models are kept. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {boolean} */
                            deleted: true;
                            id: string;
                            /** @enum {string} */
                            object: "alias";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/aliases/{name}/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the models that an alias has stood for */
        get: {
            parameters: {
                query?: {
                    /** @description Administrators only: name of the tenant that owns the alias. */
                    tenant?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The last 100 changes, newest first. To roll back, point the alias to an earlier model. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["AliasChange"][];
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chat/completions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Create a chat completion */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ChatRequest"];
                };
            };
            responses: {
                /** @description The completion or, with stream: true, server-sent events with a chunk each. The last event is [DONE], or an error. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ChatAnswer"];
                        "text/event-stream": components["schemas"]["ChatChunk"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/completions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Create a completion or score a text */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CompletionRequest"];
                };
            };
            responses: {
                /** @description The completion or, with stream: true, server-sent events with a chunk each. The last event is [DONE], or an error. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CompletionAnswer"];
                        "text/event-stream": components["schemas"]["CompletionChunk"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/embeddings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Embed texts */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["EmbeddingRequest"];
                };
            };
            responses: {
                /** @description The embeddings, in the order of the input. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["EmbeddingAnswer"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/feedback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Rate a stored response, and perhaps correct it
         * @description Keeps a copy of the conversation until it is deleted, beyond the days of the response itself: at most 256 MB for each key, of which the oldest give way. It counts as storage of the key. A second rating replaces the first.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["CreateFeedbackRequest"];
                };
            };
            responses: {
                /** @description The feedback. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Feedback"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/feedback/{response_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Delete the feedback on a response */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    response_id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The feedback was deleted. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {boolean} */
                            deleted: true;
                            id: string;
                            /** @enum {string} */
                            object: "feedback";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/feedback/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Download all feedback as a training file for the objective kto
         * @description Lines of prompt, completion and label. A correction is a line of its own, with the label true.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description JSON Lines. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/octet-stream": string;
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/files": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List files */
        get: {
            parameters: {
                query?: {
                    /** @description Last id of the previous page. */
                    after?: string;
                    limit?: number;
                    order?: "asc" | "desc";
                    purpose?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page of files. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["OpenAIFile"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        /** Upload a JSON Lines file for training or validation */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "multipart/form-data": {
                        /** @enum {string} */
                        "expires_after[anchor]"?: "created_at";
                        /** @description Seconds after which the file is deleted, from 3600 to 2592000. */
                        "expires_after[seconds]"?: string;
                        /** Format: binary */
                        file: string;
                        /** @enum {string} */
                        purpose: "fine-tune";
                    };
                };
            };
            responses: {
                /** @description The file; its status says whether it passed validation. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OpenAIFile"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/files/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Retrieve a file */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The file object. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OpenAIFile"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        /** Delete a file */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The file was deleted; jobs that use it continue. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {boolean} */
                            deleted: true;
                            id: string;
                            /** @enum {string} */
                            object: "file";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/files/{id}/content": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Download file content */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The content of the file. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/files/{id}/problems": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the wrong lines of a file, at most 50 */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The problems in the order of lines; none of a valid file. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["FileProblemList"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/alpha/graders/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Grade one answer
         * @description score_model asks a model of this server, by the key of the request. What fails in grading is noted in the errors, and the reward is 0.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["RunGraderRequest"];
                };
            };
            responses: {
                /** @description The reward. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["RunGraderResponse"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/alpha/graders/validate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Check a grader */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["ValidateGraderRequest"];
                };
            };
            responses: {
                /** @description The grader, which is valid. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ValidateGraderRequest"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List fine-tuning jobs */
        get: {
            parameters: {
                query?: {
                    /** @description Last id of the previous page. */
                    after?: string;
                    limit?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page, newest first. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["FineTuningJob"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        /**
         * Create a fine-tuning job
         * @description Repeating a request with the same Idempotency-Key returns the job that the first one created.
         */
        post: {
            parameters: {
                query?: never;
                header?: {
                    "idempotency-key"?: string;
                };
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["CreateFineTuningJobRequest"];
                };
            };
            responses: {
                /** @description The job. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["FineTuningJob"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/jobs/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Retrieve a fine-tuning job */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The job. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["FineTuningJob"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/jobs/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Cancel a fine-tuning job */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The job. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["FineTuningJob"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/jobs/{id}/checkpoints": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the checkpoints of a job, each usable as a model */
        get: {
            parameters: {
                query?: {
                    /** @description Last id of the previous page. */
                    after?: string;
                    limit?: number;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page, newest first. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["FineTuningJobCheckpoint"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/jobs/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the events of a job, or stream them with stream=true */
        get: {
            parameters: {
                query?: {
                    /** @description Last id of the previous page. */
                    after?: string;
                    limit?: number;
                    stream?: "true" | "false";
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page of events, newest first; with stream=true, server-sent events from the first one on. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["FineTuningJobEvent"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/jobs/{id}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Pause a fine-tuning job */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The job. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["FineTuningJob"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/jobs/{id}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Resume a paused fine-tuning job */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The job. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["FineTuningJob"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine_tuning/preview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Preview a fine-tuning job: tokenised examples, steps and memory
         * @description Takes the body of a job. Creates nothing and does not load the base.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["PreviewFineTuningJobRequest"];
                };
            };
            responses: {
                /** @description The preview. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["FineTuningPreview"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the keys of the key file (administrators) */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The keys, without the keys themselves. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["KeyList"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        /** Create a key, which is shown once (administrators) */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["KeyRequest"];
                };
            };
            responses: {
                /** @description The key with its token. */
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["NewKey"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Revoke a key (administrators) */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The key is refused from now on. Running requests finish. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {boolean} */
                            deleted: true;
                            id: string;
                            /** @enum {string} */
                            object: "key";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the base and the adapters that the key may use */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The models. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["Model"][];
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        /** Import an adapter that was trained elsewhere */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "multipart/form-data": components["schemas"]["ImportForm"];
                };
            };
            responses: {
                /** @description The model. It is listed, served and deleted as others. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            created: number;
                            expires_at?: number;
                            id: string;
                            /** @enum {string} */
                            object: "model";
                            owned_by: string;
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models/{model}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Retrieve a model */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    model: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The model. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Model"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        /** Set or remove the expiry of a fine-tuned model */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    model: string;
                };
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["UpdateModelRequest"];
                };
            };
            responses: {
                /** @description The model. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            created: number;
                            expires_at?: number;
                            id: string;
                            /** @enum {string} */
                            object: "model";
                            owned_by: string;
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        /** Delete a fine-tuned model */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    model: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The model was deleted. Running requests finish with it. A model with an alias cannot be deleted. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {boolean} */
                            deleted: true;
                            id: string;
                            /** @enum {string} */
                            object: "model";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Create a response */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ResponseRequest"];
                };
            };
            responses: {
                /** @description The response or, with stream: true, server-sent events, whose last one has the whole response. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Response"];
                        "text/event-stream": components["schemas"]["ResponseEvent"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Retrieve a stored response */
        get: {
            parameters: {
                query?: {
                    /** @description Only false: it comes as a whole. */
                    stream?: "false";
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The response. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Response"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        /** Delete a stored response */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description It is deleted. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {boolean} */
                            deleted: true;
                            id: string;
                            /** @enum {string} */
                            object: "response";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Cancel a background response, which this server does not have */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses/{id}/input_items": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the input items of a stored response */
        get: {
            parameters: {
                query?: {
                    after?: string;
                    limit?: number;
                    order?: "asc" | "desc";
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The items. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["ResponseInputItem"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses/input_tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Count the tokens of a response's input */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ResponseRequest"];
                };
            };
            responses: {
                /** @description The tokens of the prompt. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            input_tokens: number;
                            /** @enum {string} */
                            object: "response.input_tokens";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List training runs, the newest first
         * @description Jobs that the key may see and, for administrators or without keys, run folders below the server's --runs.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Last id of the previous page. */
                    after?: string;
                    limit?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["Run"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description It is as the If-None-Match of the request says. */
                304: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Retrieve a training run */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The run. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Run"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Retrieve what a training run measured, in columns
         * @description Of more rows than points, those with the least and the greatest values of neighbours are kept, each as it was measured.
         */
        get: {
            parameters: {
                query?: {
                    /** @description The first step to return. */
                    from_step?: number;
                    /** @description Rows of training, and of validation, at most. */
                    points?: number;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The measurements. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["RunMetrics"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/system": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Report batch, queue, memory and workers (administrators) */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The server at this moment. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["System"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Report usage per UTC hour or day; administrators see all tenants */
        get: {
            parameters: {
                query?: {
                    /** @description Restrict to the key of this name. */
                    api_key_id?: string;
                    bucket_width?: "1h" | "1d";
                    /** @description Exclusive end, Unix time in seconds. */
                    end_time?: number;
                    group_by?: "model";
                    limit?: number;
                    /** @description next_page of the previous page. */
                    page?: number;
                    /** @description Unix time in seconds, rounded down to a bucket. Default: the latest buckets. */
                    start_time?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page of buckets, oldest first. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                end_time: number;
                                /** @enum {string} */
                                object: "bucket";
                                results: components["schemas"]["UsageResult"][];
                                start_time: number;
                            }[];
                            has_more: boolean;
                            next_page: string | null;
                            /** @enum {string} */
                            object: "page";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List webhooks */
        get: {
            parameters: {
                query?: {
                    /** @description Last id of the previous page. */
                    after?: string;
                    limit?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page of webhooks, newest first. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["Webhook"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        /**
         * Create a webhook
         * @description The webhook is called when a job of the tenant ends. Only this response contains its signing secret.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["WebhookRequest"];
                };
            };
            responses: {
                /** @description The webhook with its secret. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Webhook"] & {
                            secret: string;
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Retrieve a webhook with its last delivery */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The webhook. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Webhook"] & {
                            last_delivery: components["schemas"]["WebhookDelivery"];
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        /** Delete a webhook and its pending deliveries */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The webhook was deleted. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            /** @enum {boolean} */
                            deleted: true;
                            id: string;
                            /** @enum {string} */
                            object: "webhook";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{id}/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the deliveries of the last 30 days, at most 1,000 */
        get: {
            parameters: {
                query?: {
                    /** @description Last id of the previous page. */
                    after?: string;
                    limit?: number;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page of deliveries, newest first. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: components["schemas"]["WebhookDelivery"][];
                            first_id: string | null;
                            has_more: boolean;
                            last_id: string | null;
                            /** @enum {string} */
                            object: "list";
                        };
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{id}/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Send a test event for the job ftjob-test */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The delivery, which is being attempted. */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WebhookDelivery"];
                    };
                };
                /** @description An error in OpenAI's format. */
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Error"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        Adapter: {
            /** @description Memory of its factors in slots of running requests. */
            active_bytes: number;
            /** @description Aliases of the key's tenant that stand for it now. */
            aliases: string[];
            created: number;
            digest: string;
            /** @description Rank of the LoRA that has as many trained parameters, of methods that share them between layers. */
            equivalent_rank: number | null;
            id: string;
            /** @description It is loaded now. */
            is_resident: boolean;
            /** @description Last request to this server, since its start. */
            last_used_at: number | null;
            method: string;
            /** @enum {string} */
            object: "adapter";
            /** @description Ranks of each layer that it does not share, of MoS. */
            private_rank: number | null;
            rank: number;
            /** @description Memory that it takes while it is loaded. */
            resident_bytes: number;
            /** @description Both files on disk. */
            size_bytes: number;
            targets: string[];
            /** @description File of the base that the adapter was trained on, if it is another quantisation of the served model. */
            trained_on: {
                fingerprint: string;
                model: string | null;
            } | null;
        };
        AdapterExport: {
            digest: string;
            files: {
                name: string;
            }[];
            /** @enum {string} */
            format: "mos" | "peft" | "gguf";
            id: string;
            /** @enum {string} */
            object: "adapter.export";
        };
        AdapterForm: {
            /**
             * Format: binary
             * @description adapter_config.json
             */
            adapter_config: string;
            /**
             * Format: binary
             * @description adapter_model.safetensors
             */
            adapter_model: string;
            /** @description Name of the adapter, used as model in requests. */
            name: string;
        };
        AdapterLayers: {
            digest: string;
            equivalent_rank: number | null;
            id: string;
            /** @description There are too many rows to list: rows_a and rows_b are null. */
            is_cut: boolean;
            layers: number;
            method: string;
            modules: {
                layer: number;
                /** @description Frobenius norms of A, B and scale · B A. */
                norm_a: number;
                norm_b: number;
                norm_update: number;
                /** @description Rows of the pool that make A: rank j is joined of shards_per_vector rows from entry j × shards_per_vector on. */
                rows_a: number[] | null;
                rows_b: number[] | null;
                /** @description How many directions count, from 1 to the rank; 0 without an update. */
                stable_rank: number;
                target: string;
            }[];
            /** @enum {string} */
            object: "adapter.layers";
            /** @description Empty for methods whose layers choose no parts of a pool. */
            pools: {
                /** @description Rows after them that belong to one layer each. */
                private: number;
                /** @description Rows that all layers share; they come first. */
                shared: number;
                /** @enum {string} */
                side: "A" | "B" | "A and B";
                target: string;
                /** @enum {string} */
                unit: "shard" | "pair";
            }[];
            private_rank: number | null;
            rank: number;
            shards_per_vector: number | null;
            targets: string[];
        };
        AdapterList: {
            data: components["schemas"]["Adapter"][];
            /** @enum {string} */
            object: "list";
            /** @description Administrators only: folders that cannot be used, with the reasons. */
            unavailable?: {
                id: string;
                reason: string;
            }[];
        };
        AdapterUpload: {
            /** @description adapter_config.json */
            adapter_config: {
                [key: string]: unknown;
            };
            /**
             * Format: byte
             * @description adapter_model.safetensors in base64
             */
            adapter_model: string;
            /** @description Name of the adapter, used as model in requests. */
            name: string;
        };
        Alias: {
            changed_at: number;
            created_at: number;
            id: string;
            model: string;
            /** @enum {string} */
            object: "alias";
            organization_id: string;
            version: number;
        };
        AliasChange: {
            changed_at: number;
            model: string;
            /** @enum {string} */
            object: "alias.change";
            version: number;
        };
        ChatAnswer: {
            choices: {
                /** @enum {string} */
                finish_reason: "stop" | "length" | "tool_calls" | "function_call";
                index: number;
                /** @description Of the tokens of the content only. */
                logprobs: {
                    content: {
                        bytes: number[];
                        logprob: number | null;
                        token: string;
                        top_logprobs: {
                            bytes: number[];
                            logprob: number | null;
                            token: string;
                        }[];
                    }[];
                    refusal: null;
                } | null;
                message: {
                    /** @description null where the answer has only calls. */
                    content: string | null;
                    function_call?: {
                        /** @description JSON text. */
                        arguments: string;
                        name: string;
                    };
                    /** @description Reasoning of a model that thinks before it answers; as vLLM has it. */
                    reasoning_content?: string;
                    refusal: null;
                    /** @enum {string} */
                    role: "assistant";
                    tool_calls?: ({
                        function: {
                            /** @description JSON text. */
                            arguments: string;
                            name: string;
                        };
                        id: string;
                        /** @enum {string} */
                        type: "function";
                    } | {
                        custom: {
                            input: string;
                            name: string;
                        };
                        id: string;
                        /** @enum {string} */
                        type: "custom";
                    })[];
                };
            }[];
            created: number;
            id: string;
            model: string;
            /** @enum {string} */
            object: "chat.completion";
            /** @description Digest of the adapter; null for the base. */
            system_fingerprint: string | null;
            usage: components["schemas"]["Usage"];
        };
        ChatChunk: {
            choices: {
                delta: {
                    content?: string | null;
                    function_call?: {
                        arguments: string;
                        name?: string;
                    };
                    /** @description Reasoning of a model that thinks before it answers; as vLLM has it. */
                    reasoning_content?: string;
                    refusal?: null;
                    /** @enum {string} */
                    role?: "assistant";
                    tool_calls?: {
                        custom?: {
                            input: string;
                            name?: string;
                        };
                        function?: {
                            arguments: string;
                            name?: string;
                        };
                        /** @description Only in a call's first chunk, as its type and its name. */
                        id?: string;
                        index: number;
                        /** @enum {string} */
                        type?: "function" | "custom";
                    }[];
                };
                /** @enum {string|null} */
                finish_reason: "stop" | "length" | "tool_calls" | "function_call" | null;
                index: number;
                logprobs: {
                    content: {
                        bytes: number[];
                        logprob: number | null;
                        token: string;
                        top_logprobs: {
                            bytes: number[];
                            logprob: number | null;
                            token: string;
                        }[];
                    }[];
                    refusal: null;
                } | null;
            }[];
            created: number;
            id: string;
            model: string;
            /** @enum {string} */
            object: "chat.completion.chunk";
            /** @description Digest of the adapter; null for the base. */
            system_fingerprint: string | null;
            /** @description With stream_options.include_usage: null except in the last chunk, which has no choices. */
            usage?: {
                completion_tokens: number;
                prompt_tokens: number;
                prompt_tokens_details: {
                    /** @description Prompt tokens served from the prefix cache. */
                    cached_tokens: number;
                };
                total_tokens: number;
            } | null;
        };
        ChatRequest: {
            /** @description vLLM extension: false omits the start of the assistant turn. Default: true. */
            add_generation_prompt?: boolean | null;
            /** @description Not supported: only the neutral value is accepted. */
            audio?: null;
            /** @description vLLM extension: variables for the model's chat template. */
            chat_template_kwargs?: {
                [key: string]: unknown;
            } | null;
            /** @description vLLM extension: continue the last message instead of starting a new one. */
            continue_final_message?: boolean | null;
            /** @description Subtracted from the logits of tokens once per occurrence in the output. */
            frequency_penalty?: number | null;
            /** @description The older form of tool_choice. */
            function_call?: ("none" | "auto") | {
                name: string;
            } | null;
            /** @description The older form of tools. */
            functions?: {
                description?: string | null;
                name: string;
                /** @description JSON Schema of the arguments, an object. Default: no arguments. */
                parameters?: {
                    [key: string]: unknown;
                } | null;
                /** @description Always enforce the schema, which must be in OpenAI's strict subset. Default: false. */
                strict?: boolean | null;
            }[] | null;
            /** @description llama.cpp extension: a grammar in GBNF. */
            grammar?: string | null;
            /** @description Not supported: send structured_outputs.choice. */
            guided_choice?: null;
            /** @description Not supported: send structured_outputs without a backend. */
            guided_decoding_backend?: null;
            /** @description Not supported: send structured_outputs.grammar. */
            guided_grammar?: null;
            /** @description Not supported: send structured_outputs.json. */
            guided_json?: null;
            /** @description Not supported: send structured_outputs.regex. */
            guided_regex?: null;
            /** @description Not supported: send structured_outputs.disable_any_whitespace. */
            guided_whitespace_pattern?: null;
            /** @description vLLM extension: do not stop at end-of-sequence tokens. */
            ignore_eos?: boolean | null;
            /**
             * @description Not supported: only the neutral value is accepted.
             * @enum {boolean|null}
             */
            include_stop_str_in_output?: false | null;
            /** @description llama.cpp extension: a schema of the answer. */
            json_schema?: {
                [key: string]: unknown;
            } | boolean | null;
            /** @description Values from -100 to 100 added to logits, by token id. */
            logit_bias?: {
                [key: string]: number;
            } | null;
            logprobs?: boolean | null;
            /** @description Default: the server's, else the rest of the context. */
            max_completion_tokens?: number | null;
            max_tokens?: number | null;
            messages: {
                /** @description Not supported: only the neutral value is accepted. */
                annotations?: null[] | null;
                /** @description Not supported: only the neutral value is accepted. */
                audio?: null;
                /** @description Accepted and ignored. */
                cache_control?: unknown;
                /** @description May be missing or null in assistant messages only. */
                content?: string | ({
                    /** @description Accepted and ignored. */
                    cache_control?: unknown;
                    /** @description Accepted and ignored. */
                    prompt_cache_breakpoint?: unknown;
                    /** @description Accepted and ignored. */
                    reasoning?: string | null;
                    /** @description Accepted and ignored. */
                    reasoning_content?: string | null;
                    /** @description Accepted and ignored. */
                    role?: string | null;
                    text: string;
                    /** @description Accepted and ignored. */
                    tool_calls?: unknown;
                    /** @enum {string} */
                    type: "text";
                } | null)[] | null;
                /** @description The older form of tool_calls; a message of the role function answers it. */
                function_call?: {
                    /** @description JSON of an object; an object itself is taken, too. */
                    arguments: string | {
                        [key: string]: unknown;
                    };
                    name: string;
                } | null;
                name?: string | null;
                /** @description The same as reasoning_content. */
                reasoning?: string | null;
                /** @description Reasoning of an assistant message, for templates that show it. */
                reasoning_content?: string | null;
                /** @description Not supported: only the neutral value is accepted. */
                refusal?: null;
                /** @enum {string} */
                role: "system" | "developer" | "user" | "assistant" | "tool" | "function";
                /** @description The call that a tool message answers. */
                tool_call_id?: string | null;
                /** @description Calls of an assistant message. */
                tool_calls?: ({
                    function: {
                        /** @description JSON of an object; an object itself is taken, too. */
                        arguments: string | {
                            [key: string]: unknown;
                        };
                        name: string;
                    };
                    id: string;
                    /** @description Accepted and ignored. */
                    index?: number;
                    /** @enum {string} */
                    type: "function";
                } | {
                    custom: {
                        input: string;
                        name: string;
                    };
                    id: string;
                    /** @description Accepted and ignored. */
                    index?: number;
                    /** @enum {string} */
                    type: "custom";
                })[] | null;
            }[];
            /** @description Accepted and ignored. */
            metadata?: {
                [key: string]: string;
            } | null;
            /** @description vLLM extension: drop tokens below this fraction of the top token's probability. */
            min_p?: number | null;
            /** @description vLLM extension: minimum number of output tokens. */
            min_tokens?: number | null;
            /** @description Not supported: only the neutral value is accepted. */
            modalities?: [
                "text"
            ] | null;
            /** @description Name of the base model or an adapter. */
            model: string;
            /** @description Number of choices per prompt. */
            n?: number | null;
            /** @description Several calls in one answer. Default: true. */
            parallel_tool_calls?: boolean | null;
            /** @description Accepted and ignored. */
            prediction?: {
                [key: string]: unknown;
            } | null;
            /** @description Subtracted from the logits of tokens that already occur in the output. */
            presence_penalty?: number | null;
            /** @description Accepted and ignored. */
            prompt_cache_key?: string | null;
            /** @description Accepted and ignored. */
            prompt_cache_options?: {
                [key: string]: unknown;
            } | null;
            /** @description Accepted and ignored. */
            prompt_cache_retention?: string | null;
            /** @description Accepted and ignored. */
            reasoning_effort?: string | null;
            /** @description vLLM extension: penalise tokens that occur in the prompt or output. */
            repetition_penalty?: number | null;
            /** @description Form of the answer: text, JSON, or JSON of a schema. */
            response_format?: {
                /** @enum {string} */
                type: "text";
            } | {
                /** @description llama.cpp extension. */
                schema?: {
                    [key: string]: unknown;
                } | boolean;
                /** @enum {string} */
                type: "json_object";
            } | {
                json_schema: {
                    description?: string;
                    name: string;
                    /** @description JSON Schema (2020-12). A keyword that cannot be enforced is refused. */
                    schema?: {
                        [key: string]: unknown;
                    } | boolean;
                    /** @description The schema must be in OpenAI's strict subset. It is enforced in any case. Default: false. */
                    strict?: boolean;
                };
                /** @enum {string} */
                type: "json_schema";
            };
            /** @description Accepted and ignored. */
            safety_identifier?: string | null;
            /** @description Equal requests with equal seeds give equal output on the same machine. */
            seed?: number | null;
            /** @description Accepted and ignored. */
            service_tier?: string | null;
            /**
             * @description Not supported: only the neutral value is accepted.
             * @enum {boolean|null}
             */
            skip_special_tokens?: true | null;
            /** @description Accepted and ignored. */
            spaces_between_special_tokens?: boolean | null;
            /** @description Stop sequences, not included in the output. Empty ones are ignored. */
            stop?: string | string[] | null;
            /** @description vLLM extension: additional token ids to stop at. */
            stop_token_ids?: number[] | null;
            /** @description Accepted and ignored: nothing is stored. */
            store?: boolean | null;
            stream?: boolean | null;
            stream_options?: {
                /** @enum {boolean|null} */
                include_obfuscation?: false | null;
                include_usage?: boolean | null;
            } | null;
            /** @description vLLM extension: one of json, regex, choice, grammar, json_object. */
            structured_outputs?: {
                /** @description One of these texts. */
                choice?: string[] | null;
                /**
                 * @description Not supported: only the neutral value is accepted.
                 * @enum {boolean|null}
                 */
                disable_additional_properties?: false | null;
                /** @description No white space in JSON but a blank after commas and colons. Default: true. */
                disable_any_whitespace?: boolean | null;
                /** @description Accepted and ignored. */
                disable_fallback?: boolean | null;
                /** @description A grammar in Lark or, where it has ::=, in GBNF. */
                grammar?: string | null;
                /** @description A JSON value that this schema allows. */
                json?: {
                    [key: string]: unknown;
                } | boolean | string | null;
                /** @description Any JSON object. */
                json_object?: boolean | null;
                /** @description A regular expression that the whole answer matches. */
                regex?: string | null;
                /** @description Not supported: send tools, or a grammar. */
                structural_tag?: null;
                /** @description Not supported: send disable_any_whitespace instead. */
                whitespace_pattern?: null;
            } | null;
            /** @description 0 is greedy decoding. Default: default_parameters of GET /v1/models. */
            temperature?: number | null;
            /** @description Default: auto with tools, else none. */
            tool_choice?: ("none" | "auto" | "required") | {
                function: {
                    name: string;
                };
                /** @enum {string} */
                type: "function";
            } | {
                custom: {
                    name: string;
                };
                /** @enum {string} */
                type: "custom";
            } | {
                allowed_tools: {
                    /** @enum {string} */
                    mode: "auto" | "required";
                    tools: ({
                        function: {
                            name: string;
                        };
                        /** @enum {string} */
                        type: "function";
                    } | {
                        custom: {
                            name: string;
                        };
                        /** @enum {string} */
                        type: "custom";
                    })[];
                };
                /** @enum {string} */
                type: "allowed_tools";
            } | null;
            /** @description Functions and custom tools. */
            tools?: ({
                /** @description Accepted and ignored. */
                cache_control?: unknown;
                function: {
                    description?: string;
                    name: string;
                    /** @description JSON Schema of the arguments, an object. Default: no arguments. */
                    parameters?: {
                        [key: string]: unknown;
                    };
                    /** @description Always enforce the schema, which must be in OpenAI's strict subset. Default: false. */
                    strict?: boolean;
                };
                /** @enum {string} */
                type: "function";
            } | {
                /** @description Accepted and ignored. */
                cache_control?: unknown;
                custom: {
                    description?: string;
                    format?: {
                        /** @enum {string} */
                        type: "text";
                    } | {
                        grammar: {
                            definition: string;
                            /** @enum {string} */
                            syntax: "lark" | "regex";
                        };
                        /** @enum {string} */
                        type: "grammar";
                    };
                    name: string;
                };
                /** @enum {string} */
                type: "custom";
            })[] | null;
            /** @description vLLM extension: sample from this many most likely tokens; 0 and -1 disable. */
            top_k?: number | null;
            top_logprobs?: number | null;
            top_p?: number | null;
            /** @description Accepted and ignored. */
            user?: string | null;
            /** @description Accepted and ignored. */
            verbosity?: string | null;
            /** @description Not supported: only the neutral value is accepted. */
            web_search_options?: null;
        };
        CompletionAnswer: {
            choices: {
                /** @enum {string} */
                finish_reason: "stop" | "length";
                index: number;
                logprobs: {
                    text_offset: number[];
                    token_logprobs: (number | null)[];
                    tokens: string[];
                    top_logprobs: ({
                        [key: string]: number;
                    } | null)[];
                } | null;
                text: string;
            }[];
            created: number;
            id: string;
            model: string;
            /** @enum {string} */
            object: "text_completion";
            /** @description Digest of the adapter; null for the base. */
            system_fingerprint: string | null;
            usage: components["schemas"]["Usage"];
        };
        CompletionChunk: {
            choices: {
                /** @enum {string|null} */
                finish_reason: "stop" | "length" | null;
                index: number;
                logprobs: {
                    text_offset: number[];
                    token_logprobs: (number | null)[];
                    tokens: string[];
                    top_logprobs: ({
                        [key: string]: number;
                    } | null)[];
                } | null;
                text: string;
            }[];
            created: number;
            id: string;
            model: string;
            /** @enum {string} */
            object: "text_completion";
            /** @description Digest of the adapter; null for the base. */
            system_fingerprint: string | null;
            /** @description With stream_options.include_usage: null except in the last chunk, which has no choices. */
            usage?: {
                completion_tokens: number;
                prompt_tokens: number;
                prompt_tokens_details: {
                    /** @description Prompt tokens served from the prefix cache. */
                    cached_tokens: number;
                };
                total_tokens: number;
            } | null;
        };
        CompletionRequest: {
            /** @description Accepted only if equal to n. */
            best_of?: number | null;
            /** @description Include the prompt in the text and the log-probabilities. */
            echo?: boolean | null;
            /** @description Subtracted from the logits of tokens once per occurrence in the output. */
            frequency_penalty?: number | null;
            /** @description llama.cpp extension: a grammar in GBNF. */
            grammar?: string | null;
            /** @description Not supported: send structured_outputs.choice. */
            guided_choice?: null;
            /** @description Not supported: send structured_outputs without a backend. */
            guided_decoding_backend?: null;
            /** @description Not supported: send structured_outputs.grammar. */
            guided_grammar?: null;
            /** @description Not supported: send structured_outputs.json. */
            guided_json?: null;
            /** @description Not supported: send structured_outputs.regex. */
            guided_regex?: null;
            /** @description Not supported: send structured_outputs.disable_any_whitespace. */
            guided_whitespace_pattern?: null;
            /** @description vLLM extension: do not stop at end-of-sequence tokens. */
            ignore_eos?: boolean | null;
            /**
             * @description Not supported: only the neutral value is accepted.
             * @enum {boolean|null}
             */
            include_stop_str_in_output?: false | null;
            /** @description llama.cpp extension: a schema of the answer. */
            json_schema?: {
                [key: string]: unknown;
            } | boolean | null;
            /** @description Values from -100 to 100 added to logits, by token id. */
            logit_bias?: {
                [key: string]: number;
            } | null;
            logprobs?: number | null;
            max_completion_tokens?: number | null;
            /** @description Default: the server's, else 16; 0 with echo scores the prompt. */
            max_tokens?: number | null;
            /** @description vLLM extension: drop tokens below this fraction of the top token's probability. */
            min_p?: number | null;
            /** @description vLLM extension: minimum number of output tokens. */
            min_tokens?: number | null;
            /** @description Name of the base model or an adapter. */
            model: string;
            /** @description Number of choices per prompt. */
            n?: number | null;
            /** @description Subtracted from the logits of tokens that already occur in the output. */
            presence_penalty?: number | null;
            prompt: ((string | string[] | number[] | number[][]) | (unknown[] | string | string[] | number[] | number[][])) | string | string[] | number[] | number[][];
            /** @description vLLM extension: penalise tokens that occur in the prompt or output. */
            repetition_penalty?: number | null;
            /** @description Form of the answer: text, JSON, or JSON of a schema. */
            response_format?: {
                /** @enum {string} */
                type: "text";
            } | {
                /** @description llama.cpp extension. */
                schema?: {
                    [key: string]: unknown;
                } | boolean;
                /** @enum {string} */
                type: "json_object";
            } | {
                json_schema: {
                    description?: string;
                    name: string;
                    /** @description JSON Schema (2020-12). A keyword that cannot be enforced is refused. */
                    schema?: {
                        [key: string]: unknown;
                    } | boolean;
                    /** @description The schema must be in OpenAI's strict subset. It is enforced in any case. Default: false. */
                    strict?: boolean;
                };
                /** @enum {string} */
                type: "json_schema";
            };
            /** @description Equal requests with equal seeds give equal output on the same machine. */
            seed?: number | null;
            /**
             * @description Not supported: only the neutral value is accepted.
             * @enum {boolean|null}
             */
            skip_special_tokens?: true | null;
            /** @description Accepted and ignored. */
            spaces_between_special_tokens?: boolean | null;
            /** @description Stop sequences, not included in the output. Empty ones are ignored. */
            stop?: string | string[] | null;
            /** @description vLLM extension: additional token ids to stop at. */
            stop_token_ids?: number[] | null;
            stream?: boolean | null;
            stream_options?: {
                /** @enum {boolean|null} */
                include_obfuscation?: false | null;
                include_usage?: boolean | null;
            } | null;
            /** @description vLLM extension: one of json, regex, choice, grammar, json_object. */
            structured_outputs?: {
                /** @description One of these texts. */
                choice?: string[] | null;
                /**
                 * @description Not supported: only the neutral value is accepted.
                 * @enum {boolean|null}
                 */
                disable_additional_properties?: false | null;
                /** @description No white space in JSON but a blank after commas and colons. Default: true. */
                disable_any_whitespace?: boolean | null;
                /** @description Accepted and ignored. */
                disable_fallback?: boolean | null;
                /** @description A grammar in Lark or, where it has ::=, in GBNF. */
                grammar?: string | null;
                /** @description A JSON value that this schema allows. */
                json?: {
                    [key: string]: unknown;
                } | boolean | string | null;
                /** @description Any JSON object. */
                json_object?: boolean | null;
                /** @description A regular expression that the whole answer matches. */
                regex?: string | null;
                /** @description Not supported: send tools, or a grammar. */
                structural_tag?: null;
                /** @description Not supported: send disable_any_whitespace instead. */
                whitespace_pattern?: null;
            } | null;
            /** @description Not supported: only the neutral value is accepted. */
            suffix?: null;
            /** @description 0 is greedy decoding. Default: default_parameters of GET /v1/models. */
            temperature?: number | null;
            /** @description vLLM extension: sample from this many most likely tokens; 0 and -1 disable. */
            top_k?: number | null;
            top_p?: number | null;
            /** @description Accepted and ignored. */
            user?: string | null;
        };
        CreateFeedbackRequest: {
            /** @description The answer that it should have been. */
            correction?: string | null;
            /** @enum {string} */
            rating: "up" | "down";
            /** @description A response that is stored, as /v1/responses stores them. */
            response_id: string;
        };
        CreateFineTuningJobRequest: {
            hyperparameters?: {
                batch_size?: "auto" | number | null;
                learning_rate_multiplier?: "auto" | number | null;
                n_epochs?: "auto" | number | null;
            } | null;
            integrations?: unknown[] | null;
            metadata?: {
                [key: string]: string;
            } | null;
            method?: {
                dpo?: {
                    hyperparameters?: {
                        batch_size?: "auto" | number | null;
                        beta?: "auto" | number | null;
                        learning_rate_multiplier?: "auto" | number | null;
                        n_epochs?: "auto" | number | null;
                    } | null;
                } | null;
                reinforcement?: {
                    /** @description What gives answers their rewards: string_check, text_similarity, score_model, python or multi. */
                    grader: {
                        [key: string]: unknown;
                    };
                    hyperparameters?: {
                        batch_size?: "auto" | number | null;
                        /** @description Answers to each prompt of a step, as a multiple of 8. */
                        compute_multiplier?: "auto" | number | null;
                        /** @description Steps between evaluations; 10 by default. */
                        eval_interval?: "auto" | number | null;
                        /** @description Answers to each held-out prompt; 4 by default. */
                        eval_samples?: "auto" | number | null;
                        learning_rate_multiplier?: "auto" | number | null;
                        n_epochs?: "auto" | number | null;
                        /**
                         * @description Has no effect.
                         * @enum {string|null}
                         */
                        reasoning_effort?: "default" | "low" | "medium" | "high" | null;
                    } | null;
                    /** @description Form of the answers, which the prompts ask for and graders read as `sample.output_json`. */
                    response_format?: {
                        json_schema: {
                            description?: string | null;
                            name: string;
                            schema: {
                                [key: string]: unknown;
                            };
                            strict?: boolean | null;
                        };
                        /** @enum {string} */
                        type: "json_schema";
                    } | null;
                } | null;
                supervised?: {
                    hyperparameters?: {
                        batch_size?: "auto" | number | null;
                        learning_rate_multiplier?: "auto" | number | null;
                        n_epochs?: "auto" | number | null;
                    } | null;
                } | null;
                /** @enum {string} */
                type: "supervised" | "dpo" | "reinforcement";
            } | null;
            model: string;
            mos?: components["schemas"]["MosSettings"];
            seed?: number | null;
            suffix?: string | null;
            training_file: string;
            validation_file?: string | null;
        };
        EmbeddingAnswer: {
            data: {
                embedding: number[] | string;
                index: number;
                /** @enum {string} */
                object: "embedding";
            }[];
            model: string;
            /** @enum {string} */
            object: "list";
            usage: {
                prompt_tokens: number;
                total_tokens: number;
            };
        };
        EmbeddingRequest: {
            /** @description Keeps this many numbers, scaled to length 1: for models that were trained for it (Matryoshka). */
            dimensions?: number | null;
            /**
             * @description base64 is of the vector's float32 numbers, little-endian.
             * @enum {string|null}
             */
            encoding_format?: "float" | "base64" | null;
            input: ((string | string[] | number[] | number[][]) | (unknown[] | string | string[] | number[] | number[][])) | string | string[] | number[] | number[][];
            /** @description Name of the base model or an adapter. */
            model: string;
            /** @description Accepted and ignored. */
            user?: string | null;
        };
        Error: {
            error: {
                code: string | null;
                message: string;
                param: string | null;
                type: string;
            };
        };
        Feedback: {
            correction: string | null;
            created_at: number;
            id: string;
            model: string;
            /** @enum {string} */
            object: "feedback";
            /** @enum {string} */
            rating: "up" | "down";
            response_id: string;
        };
        FileProblemList: {
            data: {
                /** @description Null for the file as a whole. */
                line: number | null;
                message: string;
                /** @enum {string} */
                object: "file.problem";
            }[];
            has_more: boolean;
            /** @enum {string} */
            object: "list";
        };
        FineTuningJob: {
            created_at: number;
            error: {
                code: string;
                message: string;
                param: string | null;
            } | null;
            estimated_finish: number | null;
            fine_tuned_model: string | null;
            finished_at: number | null;
            /** @description Null unless the method is supervised. */
            hyperparameters: {
                batch_size: "auto" | number;
                learning_rate_multiplier: "auto" | number;
                n_epochs: "auto" | number;
            } | null;
            id: string;
            integrations: unknown[];
            metadata: {
                [key: string]: string;
            } | null;
            method: {
                supervised: {
                    hyperparameters: {
                        batch_size: "auto" | number;
                        learning_rate_multiplier: "auto" | number;
                        n_epochs: "auto" | number;
                    };
                };
                /** @enum {string} */
                type: "supervised";
            } | {
                dpo: {
                    hyperparameters: {
                        batch_size: "auto" | number;
                        beta: "auto" | number;
                        learning_rate_multiplier: "auto" | number;
                        n_epochs: "auto" | number;
                    };
                };
                /** @enum {string} */
                type: "dpo";
            } | {
                reinforcement: {
                    grader: {
                        [key: string]: unknown;
                    };
                    hyperparameters: {
                        batch_size: "auto" | number;
                        compute_multiplier: "auto" | number;
                        eval_interval: "auto" | number;
                        eval_samples: "auto" | number;
                        learning_rate_multiplier: "auto" | number;
                        n_epochs: "auto" | number;
                        reasoning_effort: string;
                    };
                    /** @description Form of the answers, which the prompts ask for and graders read as `sample.output_json`. */
                    response_format?: {
                        json_schema: {
                            description?: string;
                            name: string;
                            schema: {
                                [key: string]: unknown;
                            };
                            strict?: boolean | null;
                        };
                        /** @enum {string} */
                        type: "json_schema";
                    } | null;
                };
                /** @enum {string} */
                type: "reinforcement";
            };
            model: string;
            /** @description Extensions to OpenAI's API: the job's settings and progress. */
            mos: {
                [key: string]: unknown;
            };
            /** @enum {string} */
            object: "fine_tuning.job";
            organization_id: string;
            result_files: string[];
            seed: number;
            /** @enum {string} */
            status: "queued" | "running" | "paused" | "succeeded" | "failed" | "cancelled";
            trained_tokens: number | null;
            training_file: string;
            user_provided_suffix: string | null;
            validation_file: string | null;
        };
        FineTuningJobCheckpoint: {
            created_at: number;
            fine_tuned_model_checkpoint: string;
            fine_tuning_job_id: string;
            id: string;
            metrics: {
                [key: string]: number;
            };
            /** @enum {string} */
            object: "fine_tuning.job.checkpoint";
            step_number: number;
        };
        FineTuningJobEvent: {
            created_at: number;
            data?: {
                [key: string]: unknown;
            };
            id: string;
            /** @enum {string} */
            level: "info" | "warn" | "error";
            message: string;
            /** @enum {string} */
            object: "fine_tuning.job.event";
            /** @enum {string} */
            type: "message" | "metrics";
        };
        FineTuningPreview: {
            adapter_bytes: number;
            batch_size: number;
            /** @description Rank of the LoRA with as many trainable parameters. */
            equivalent_rank: number;
            /** @description Duration of the training at this speed, without waiting; null where no speed was measured. */
            estimated_seconds: number | null;
            /** @description Peak learning rate. */
            learning_rate: number;
            lines: {
                /**
                 * @description Which answer of a preference this is; a pair has two lines here.
                 * @enum {string}
                 */
                answer?: "chosen" | "rejected" | "desirable" | "undesirable";
                dropped: boolean;
                line: number;
                /** @description Contents of messages among the tokens: the first of each, and the one after its last. */
                messages: {
                    end: number;
                    role: string;
                    start: number;
                }[];
                /** @enum {string} */
                part: "training" | "validation" | "unused";
                target_tokens: number;
                token_count: number;
                /** @description The first 1000 tokens of the line. */
                tokens: {
                    id: number;
                    text: string;
                    trained: boolean;
                }[];
                truncated: boolean;
                truncated_target_tokens: number;
            }[];
            /** @description Trainable parameters of LoRA of the same rank on the same layers. */
            lora_parameters: number;
            max_length: number;
            memory: {
                bytes: number;
                /** @description Free memory of this server's machine, which may differ from that of the workers. */
                free_bytes: number;
                parts: {
                    [key: string]: number;
                };
            };
            model: string;
            n_epochs: number;
            /** @enum {string} */
            object: "fine_tuning.preview";
            /** @description Training examples that are truncated or dropped, or call tools wrongly: the first 50 of each kind. */
            problems: {
                code: string;
                line: number;
                message: string;
            }[];
            /** @description Speed of the latest training of this base, of any method; null before its first, and where answers are sampled. */
            tokens_per_second: number | null;
            total_steps: number;
            trainable_parameters: number;
            training: {
                dropped: number;
                examples: number;
                longest: number;
                target_tokens: number;
                tokens: number;
                truncated: number;
                truncated_target_tokens: number;
            };
            validation: {
                dropped: number;
                examples: number;
                longest: number;
                target_tokens: number;
                tokens: number;
                truncated: number;
                truncated_target_tokens: number;
            } | null;
            warmup_steps: number;
            warnings: {
                code: string;
                message: string;
            }[];
        };
        Grader: {
            input: string;
            name?: string;
            /** @enum {string} */
            operation: "eq" | "ne" | "neq" | "like" | "ilike";
            pass_threshold?: number;
            reference: string;
            /** @enum {string} */
            type: "string_check";
        } | {
            /** @enum {string} */
            evaluation_metric: "fuzzy_match" | "bleu" | "gleu" | "meteor" | "rouge_1" | "rouge_2" | "rouge_3" | "rouge_4" | "rouge_5" | "rouge_l";
            input: string;
            name?: string;
            pass_threshold?: number;
            reference: string;
            /** @enum {string} */
            type: "text_similarity";
        } | {
            image_tag?: string | null;
            name?: string;
            pass_threshold?: number;
            source: string;
            /** @enum {string} */
            type: "python";
        } | {
            input: {
                content: string | {
                    text: string;
                    /** @enum {string} */
                    type: "text" | "input_text" | "output_text";
                } | (string | {
                    text: string;
                    /** @enum {string} */
                    type: "text" | "input_text" | "output_text";
                })[];
                /** @enum {string} */
                role: "system" | "developer" | "user" | "assistant";
                /** @enum {string} */
                type?: "message";
            }[];
            model: string;
            name?: string;
            pass_threshold?: number;
            range?: [
                number,
                number
            ] | null;
            sampling_params?: {
                max_completions_tokens?: number | null;
                reasoning_effort?: string | null;
                seed?: number | null;
                temperature?: number | null;
                top_p?: number | null;
            } | null;
            /** @enum {string} */
            type: "score_model";
        } | {
            calculate_output: string;
            graders: {
                [key: string]: {
                    input: string;
                    name?: string;
                    /** @enum {string} */
                    operation: "eq" | "ne" | "neq" | "like" | "ilike";
                    pass_threshold?: number;
                    reference: string;
                    /** @enum {string} */
                    type: "string_check";
                } | {
                    /** @enum {string} */
                    evaluation_metric: "fuzzy_match" | "bleu" | "gleu" | "meteor" | "rouge_1" | "rouge_2" | "rouge_3" | "rouge_4" | "rouge_5" | "rouge_l";
                    input: string;
                    name?: string;
                    pass_threshold?: number;
                    reference: string;
                    /** @enum {string} */
                    type: "text_similarity";
                } | {
                    image_tag?: string | null;
                    name?: string;
                    pass_threshold?: number;
                    source: string;
                    /** @enum {string} */
                    type: "python";
                } | {
                    input: {
                        content: string | {
                            text: string;
                            /** @enum {string} */
                            type: "text" | "input_text" | "output_text";
                        } | (string | {
                            text: string;
                            /** @enum {string} */
                            type: "text" | "input_text" | "output_text";
                        })[];
                        /** @enum {string} */
                        role: "system" | "developer" | "user" | "assistant";
                        /** @enum {string} */
                        type?: "message";
                    }[];
                    model: string;
                    name?: string;
                    pass_threshold?: number;
                    range?: [
                        number,
                        number
                    ] | null;
                    sampling_params?: {
                        max_completions_tokens?: number | null;
                        reasoning_effort?: string | null;
                        seed?: number | null;
                        temperature?: number | null;
                        top_p?: number | null;
                    } | null;
                    /** @enum {string} */
                    type: "score_model";
                };
            };
            name?: string;
            /** @enum {string} */
            type: "multi";
        };
        ImportForm: {
            /**
             * Format: binary
             * @description adapter_config.json of the adapter's folder.
             */
            adapter_config: string;
            /**
             * Format: binary
             * @description adapter_model.safetensors of the adapter's folder.
             */
            adapter_model: string;
            /** @description Administrators: the tenant who gets the model. */
            owner?: string;
            /** @description A part of the model's name, as of a job. */
            suffix?: string;
        };
        Key: {
            /** @description Patterns of the adapters that it may use; null: all. */
            adapters: string[] | null;
            admin: boolean;
            /** @description Date and time in UTC. */
            expires_at: string | null;
            /** @description The start of the key's hash. */
            id: string;
            /** @description True for the key of this request. */
            is_own: boolean;
            /** @description Limits that add-ons enforce, by their names. */
            limits: {
                [key: string]: {
                    [key: string]: unknown;
                };
            };
            max_concurrent: number | null;
            /** @description The tenant that owns the key. */
            name: string;
            /** @enum {string} */
            object: "key";
            requests_per_minute: number | null;
            /** @enum {string} */
            status: "active" | "expired" | "revoked";
            tokens_per_day: number | null;
            tokens_per_month: number | null;
        };
        KeyList: {
            data: components["schemas"]["Key"][];
            /** @description The limits of add-ons that a new key may have. */
            limit_fields: {
                /** @description The values that it may have, in words. */
                expected: string;
                group: string;
                help: string;
                name: string;
            }[];
            /** @enum {string} */
            object: "list";
        };
        KeyRequest: {
            /** @description Default: all. */
            adapters?: string[] | null;
            admin?: boolean | null;
            /** @description a time from now such as 12h, 30d or 8w, or a date such as 2027-01-31 or 2027-01-31T12:00:00Z. Default: never. */
            expires?: string | null;
            /** @description Limits that add-ons enforce, by their names. */
            limits?: {
                [key: string]: {
                    [key: string]: unknown;
                };
            } | null;
            max_concurrent?: number | null;
            name: string;
            requests_per_minute?: number | null;
            tokens_per_day?: number | null;
            tokens_per_month?: number | null;
        };
        Model: {
            created: number;
            /** @description Sampling parameters of requests that omit them, from the server's options or else the model's files. */
            default_parameters: {
                frequency_penalty: number;
                max_tokens?: number;
                min_p: number;
                presence_penalty: number;
                repetition_penalty: number;
                temperature: number;
                top_k: number;
                top_p: number;
            };
            expires_at?: number;
            id: string;
            /** @enum {string} */
            object: "model";
            owned_by: string;
            parent: string | null;
            root: string;
        };
        MosSettings: {
            /** @description all but vera: scale the update by alpha / rank; default: 16 */
            alpha?: number;
            /**
             * @description data type of the base weights in memory; stored keeps the types of the file; default: stored
             * @enum {string}
             */
            base_dtype?: "stored" | "float32" | "int8" | "int4" | "nf4";
            /** @description rows per batch; a packed row holds several examples; default: 1 to 4, by the data */
            batch_size?: number;
            /** @description how strongly answers are held to the reference; without one, how sharply they are told apart; default: 0.1; simpo 2, grpo 0 */
            beta?: number;
            /** @description AdamW beta1; default: 0.9 */
            beta1?: number;
            /** @description AdamW beta2; default: 0.999 */
            beta2?: number;
            /** @description variables for the chat template, such as {"enable_thinking": false} */
            chat_template_kwargs?: {
                [key: string]: unknown;
            };
            /** @description seconds until a checkpoint is deleted; default: never */
            checkpoints_expire_after?: number;
            /** @description prolora: copies of the shared chunk along the feature dimension; default: 3 */
            chunks?: number;
            /**
             * @description data type of matrix products with the base weights; int8 is faster but rounds; default: int8 for a base of at most 8 bits on a CPU, else float32
             * @enum {string}
             */
            compute_dtype?: "float32" | "int8";
            /** @description weight of answers that are rated good; default: 1 */
            desirable_weight?: number;
            /**
             * @description loss of a pair of dpo; robust allows for pairs the wrong way round, ipo and sigmoid_norm go by means over tokens; default: sigmoid
             * @enum {string}
             */
            dpo_loss?: "sigmoid" | "robust" | "ipo" | "hinge" | "apo_zero" | "sigmoid_norm";
            /** @description dropout probability of the adapter's inputs in training; default: 0 */
            dropout?: number;
            /** @description stop after this many evaluations without a better one, and keep the best adapter; 0 keeps the last; default: two passes over the data; 0 with --steps; none with rewards */
            early_stopping_patience?: number;
            /** @description passes over the data; may be fractional; default: by the data: 30 for 40 examples, 3 for 1,000, 1 from 2,000 on; fewer for long ones */
            epochs?: number;
            /** @description by how much a ratio of probabilities may fall below 1 before its gradient ends; default: 0.2 */
            epsilon?: number;
            /** @description by how much a ratio of probabilities may rise above 1 before its gradient ends; default: 0.2 */
            epsilon_high?: number;
            /** @description mos, subset-selection: parameter budget, as the rank of a LoRA with as many trainable parameters; default: 2 */
            equivalent_rank?: number;
            /** @description a grader of answers to held-out prompts, whose mean reward decides which adapter is the best */
            evaluate_by?: {
                [key: string]: unknown;
            };
            /** @description updates between evaluations; 0 evaluates only before and after training; default: a pass over the data; 0 for one pass, and with --steps */
            evaluate_every?: number;
            /** @description held-out prompts that are answered at each evaluation, at most; default: 64; grpo and distill all */
            evaluate_prompts?: number;
            /** @description answers that are sampled for each held-out prompt; one is the likeliest, unless there is a temperature; default: 1; grpo and distill as many as for a prompt of an update */
            evaluate_samples?: number;
            /** @description seconds until the model is deleted; default: never */
            expires_after?: number;
            /** @description by how much the mean log-probability of the chosen answer, times beta, is to exceed the other's; default: 0.5 */
            gamma?: number;
            /** @description What gives answers their rewards: string_check, text_similarity, score_model, python or multi. */
            grader?: {
                [key: string]: unknown;
            };
            /** @description batches whose gradients are summed for each update; default: 1 */
            gradient_accumulation_steps?: number;
            /** @description answers that are sampled for each prompt of an update; default: 8 */
            group_size?: number;
            /**
             * @description what the loss is a mean of: the tokens of an update, answers, answers by their sums, the tokens of a batch; default: dapo
             * @enum {string}
             */
            grpo_loss?: "dapo" | "grpo" | "dr_grpo" | "bnpo";
            /**
             * @description whether each token has a ratio of probabilities, or each answer the mean of its tokens'; default: token
             * @enum {string}
             */
            importance_level?: "token" | "sequence";
            /** @description share of the pairs that are the wrong way round, for the loss robust; default: 0.1 */
            label_smoothing?: number;
            /** @description train on the last answer of a conversation alone; default: false */
            last_answer_only?: boolean;
            /** @description peak learning rate; default: 0.002, half of it for dpo; less for bases wider than 640 */
            learning_rate?: number;
            /** @description maximum length of a sampled answer, in tokens; default: 256 */
            max_completion_length?: number;
            /** @description clip gradients to this norm; 0 disables; default: 1 */
            max_gradient_norm?: number;
            /** @description maximum length of an example and of a packed row, in tokens; default: what the data need */
            max_length?: number;
            /**
             * @description adapter method; mos is Mixture of Shards; default: mos
             * @enum {string}
             */
            method?: "lora" | "mos" | "pure-sharing" | "random-scaling" | "subset-selection" | "vera" | "tied-lora" | "prolora";
            /**
             * @description what is learnt from: the answers of examples (sft), pairs of answers (dpo, orpo, simpo), rated ones (kto), or those that are sampled, by a grader (grpo) or a teacher (distill); default: sft
             * @enum {string}
             */
            objective?: "sft" | "dpo" | "kto" | "orpo" | "simpo" | "grpo";
            /** @description false: do not pack several examples into one sequence; default: true */
            packing?: boolean;
            /** @description false: mos: route B with the same indices as A; default: true */
            pair_dissociation?: boolean;
            /** @description higher ones run first; at most that of the key, which is the default */
            priority?: number;
            /** @description mos: ranks private to each layer, 0 to e; default: 1 */
            private_rank?: number;
            /**
             * @description prompt format; template is the model's chat template; default: template
             * @enum {string}
             */
            prompt_format?: "template" | "chatml" | "plain" | "open-instruct";
            /** @description rank of each layer's update; number of vector pairs shared by all layers for pure-sharing, random-scaling; default: 8; 64 for pure-sharing, random-scaling; 256 for vera; 4 for prolora */
            rank?: number;
            /** @description JSON file with the response_format of OpenAI's API that sampled answers have, and prompts ask for */
            response_format?: {
                [key: string]: unknown;
            };
            /** @description updates between checkpoints; 0 saves only at the end or when interrupted */
            save_every?: number;
            /** @description random-scaling: standard deviation of the random scales; default: 0.3 */
            scale_deviation?: number;
            /** @description random-scaling: mean of the random scales; default: 1 */
            scale_mean?: number;
            /**
             * @description standard deviation that rewards, less the mean of their group, are divided by: the group's, the batch's, or none; default: group
             * @enum {string}
             */
            scale_rewards?: "group" | "batch" | "none";
            /**
             * @description learning rate schedule; default: linear
             * @enum {string}
             */
            schedule?: "linear" | "cosine" | "constant";
            /** @description weight of the loss of plain training on the chosen answers; with 0 they may become unlikely; default: dpo 1, simpo 0 */
            sft_weight?: number;
            /** @description mos: shards per vector; default: 4 */
            shards_per_vector?: number;
            /** @description number of updates, instead of --epochs */
            steps?: number;
            /** @description system message for conversations without one */
            system?: string;
            /** @description linear layers to adapt; default: all */
            target_modules?: ("q_proj" | "k_proj" | "v_proj" | "o_proj" | "gate_proj" | "up_proj" | "down_proj")[] | ("q_proj" | "k_proj" | "v_proj")[];
            /** @description sampling temperature of answers; at another than 1 they are not the policy's own; default: 1 */
            temperature?: number;
            /** @description weight of answers that are rated bad; default: 1 */
            undesirable_weight?: number;
            /** @description prolora: unshared ranks, 0 to r; default: 1 */
            unshared_rank?: number;
            /** @description warm-up updates: a fraction below 1, or a number; default: 0.03 */
            warmup?: number;
            /** @description AdamW weight decay; default: 0 */
            weight_decay?: number;
        } | null;
        NewKey: components["schemas"]["Key"] & {
            /** @description The key itself, which is in no other answer. */
            token: string;
        };
        OpenAIFile: {
            bytes: number;
            created_at: number;
            expires_at?: number;
            filename: string;
            id: string;
            /** @enum {string} */
            object: "file";
            organization_id: string;
            purpose: string;
            /** @enum {string} */
            status: "processed" | "error";
            status_details?: string;
        };
        PreviewFineTuningJobRequest: {
            hyperparameters?: {
                batch_size?: "auto" | number | null;
                learning_rate_multiplier?: "auto" | number | null;
                n_epochs?: "auto" | number | null;
            } | null;
            integrations?: unknown[] | null;
            /** @description Lines of the training file to show. Default: the first three examples. */
            lines?: number[] | null;
            metadata?: {
                [key: string]: string;
            } | null;
            method?: {
                dpo?: {
                    hyperparameters?: {
                        batch_size?: "auto" | number | null;
                        beta?: "auto" | number | null;
                        learning_rate_multiplier?: "auto" | number | null;
                        n_epochs?: "auto" | number | null;
                    } | null;
                } | null;
                reinforcement?: {
                    /** @description What gives answers their rewards: string_check, text_similarity, score_model, python or multi. */
                    grader: {
                        [key: string]: unknown;
                    };
                    hyperparameters?: {
                        batch_size?: "auto" | number | null;
                        /** @description Answers to each prompt of a step, as a multiple of 8. */
                        compute_multiplier?: "auto" | number | null;
                        /** @description Steps between evaluations; 10 by default. */
                        eval_interval?: "auto" | number | null;
                        /** @description Answers to each held-out prompt; 4 by default. */
                        eval_samples?: "auto" | number | null;
                        learning_rate_multiplier?: "auto" | number | null;
                        n_epochs?: "auto" | number | null;
                        /**
                         * @description Has no effect.
                         * @enum {string|null}
                         */
                        reasoning_effort?: "default" | "low" | "medium" | "high" | null;
                    } | null;
                    /** @description Form of the answers, which the prompts ask for and graders read as `sample.output_json`. */
                    response_format?: {
                        json_schema: {
                            description?: string | null;
                            name: string;
                            schema: {
                                [key: string]: unknown;
                            };
                            strict?: boolean | null;
                        };
                        /** @enum {string} */
                        type: "json_schema";
                    } | null;
                } | null;
                supervised?: {
                    hyperparameters?: {
                        batch_size?: "auto" | number | null;
                        learning_rate_multiplier?: "auto" | number | null;
                        n_epochs?: "auto" | number | null;
                    } | null;
                } | null;
                /** @enum {string} */
                type: "supervised" | "dpo" | "reinforcement";
            } | null;
            model: string;
            mos?: components["schemas"]["MosSettings"];
            seed?: number | null;
            suffix?: string | null;
            training_file: string;
            validation_file?: string | null;
        };
        Response: {
            completed_at: number | null;
            created_at: number;
            error: {
                code: string;
                message: string;
            } | null;
            id: string;
            incomplete_details: {
                /** @enum {string} */
                reason: "max_output_tokens";
            } | null;
            instructions: string | null;
            model: string;
            /** @enum {string} */
            object: "response";
            output: ({
                id: string;
                /** @enum {string} */
                status: "in_progress" | "completed" | "incomplete";
                /** @enum {string} */
                type: "message" | "reasoning" | "function_call" | "custom_tool_call";
            } & {
                [key: string]: unknown;
            })[];
            previous_response_id: string | null;
            /** @enum {string} */
            status: "in_progress" | "completed" | "incomplete" | "failed";
            usage: {
                input_tokens: number;
                input_tokens_details: {
                    cached_tokens: number;
                };
                output_tokens: number;
                output_tokens_details: {
                    reasoning_tokens: number;
                };
                total_tokens: number;
            } | null;
        } & {
            [key: string]: unknown;
        };
        ResponseEvent: {
            sequence_number: number;
            type: string;
        } & {
            [key: string]: unknown;
        };
        ResponseInputItem: {
            content: string | ({
                text: string;
                /** @enum {string} */
                type: "input_text" | "output_text" | "text";
            } | {
                refusal: string;
                /** @enum {string} */
                type: "refusal";
            })[];
            id?: string | null;
            /** @enum {string} */
            role: "user" | "assistant" | "system" | "developer";
            /** @enum {string} */
            type?: "message";
        } | {
            arguments: string;
            call_id: string;
            id?: string | null;
            name: string;
            namespace?: string | null;
            /** @enum {string} */
            type: "function_call";
        } | {
            call_id: string;
            id?: string | null;
            input: string;
            name: string;
            namespace?: string | null;
            /** @enum {string} */
            type: "custom_tool_call";
        } | {
            call_id: string;
            id?: string | null;
            output: string | ({
                text: string;
                /** @enum {string} */
                type: "input_text" | "output_text" | "text";
            } | {
                refusal: string;
                /** @enum {string} */
                type: "refusal";
            })[];
            /** @enum {string} */
            type: "function_call_output" | "custom_tool_call_output";
        } | {
            content?: {
                text: string;
                type: string;
            }[] | null;
            id?: string | null;
            /** @enum {string} */
            type: "reasoning";
        } | {
            id: string;
            /** @enum {string|null} */
            type?: "item_reference" | null;
        };
        ResponseRequest: {
            /**
             * @description Not supported: only the neutral value is accepted.
             * @enum {boolean|null}
             */
            background?: false | null;
            /** @description vLLM extension: variables for the model's chat template. */
            chat_template_kwargs?: {
                [key: string]: unknown;
            } | null;
            /** @description Accepted and ignored. */
            client_metadata?: {
                [key: string]: unknown;
            } | null;
            /** @description Not supported: only the neutral value is accepted. */
            context_management?: null;
            /** @description Not supported: only the neutral value is accepted. */
            conversation?: null;
            /** @description Subtracted from the logits of tokens once per occurrence in the output. */
            frequency_penalty?: number | null;
            /** @description message.output_text.logprobs adds log-probabilities; other values are ignored. */
            include?: string[] | null;
            /** @description A user's text, or items of a conversation. */
            input?: string | components["schemas"]["ResponseInputItem"][] | null;
            /** @description A system message before the conversation, which previous_response_id does not carry over. */
            instructions?: string | null;
            /** @description Default: the server's, else the rest of the context. */
            max_output_tokens?: number | null;
            /** @description Accepted and ignored. */
            max_tool_calls?: number | null;
            metadata?: {
                [key: string]: string;
            } | null;
            /** @description vLLM extension: drop tokens below this fraction of the top token's probability. */
            min_p?: number | null;
            /** @description Name of the base model or an adapter. */
            model: string;
            /** @description False allows at most one call. Default: true. */
            parallel_tool_calls?: boolean | null;
            /** @description Subtracted from the logits of tokens that already occur in the output. */
            presence_penalty?: number | null;
            /** @description A stored response, whose conversation this request continues. */
            previous_response_id?: string | null;
            /** @description Not supported: only the neutral value is accepted. */
            prompt?: null;
            /** @description Accepted and ignored. */
            prompt_cache_key?: string | null;
            /** @description Accepted and ignored. */
            prompt_cache_options?: {
                [key: string]: unknown;
            } | null;
            /** @description Accepted and ignored. */
            prompt_cache_retention?: string | null;
            /** @description Accepted and ignored. */
            reasoning?: {
                [key: string]: unknown;
            } | null;
            /** @description vLLM extension: penalise tokens that occur in the prompt or output. */
            repetition_penalty?: number | null;
            /** @description Accepted and ignored. */
            safety_identifier?: string | null;
            /** @description Equal requests with equal seeds give equal output on the same machine. */
            seed?: number | null;
            /** @description Accepted and ignored. */
            service_tier?: string | null;
            /** @description Whether the response is stored, so that later requests may refer to it. Default: true. */
            store?: boolean | null;
            stream?: boolean | null;
            stream_options?: {
                include_obfuscation?: boolean | null;
            } | null;
            /** @description 0 is greedy decoding. Default: default_parameters of GET /v1/models. */
            temperature?: number | null;
            /** @description Form of the text: any, a JSON object, or JSON of a schema. */
            text?: {
                format?: ({
                    /** @enum {string} */
                    type: "text";
                } & {
                    [key: string]: unknown;
                }) | ({
                    /** @enum {string} */
                    type: "json_object";
                } & {
                    [key: string]: unknown;
                }) | {
                    description?: string | null;
                    name: string;
                    schema: {
                        [key: string]: unknown;
                    };
                    strict?: boolean | null;
                    /** @enum {string} */
                    type: "json_schema";
                };
                /** @description Accepted and ignored. */
                verbosity?: string | null;
            } | null;
            tool_choice?: ("none" | "auto" | "required") | {
                /** @enum {string} */
                mode: "auto" | "required";
                tools: {
                    name?: string | null;
                    type: string;
                }[];
                /** @enum {string} */
                type: "allowed_tools";
            } | {
                name?: string | null;
                type: string;
            } | null;
            /** @description Functions, custom tools and namespaces of them. Tools that OpenAI runs, such as web_search, are skipped while others are left; the header x-skipped-tools names them. */
            tools?: ({
                description?: string | null;
                name: string;
                parameters?: {
                    [key: string]: unknown;
                } | null;
                strict?: boolean | null;
                /** @enum {string} */
                type: "function";
            } | {
                description?: string | null;
                format?: {
                    /** @enum {string} */
                    type: "text";
                } | {
                    definition: string;
                    /** @enum {string} */
                    syntax: "lark" | "regex";
                    /** @enum {string} */
                    type: "grammar";
                } | null;
                name: string;
                /** @enum {string} */
                type: "custom";
            } | {
                description?: string | null;
                name: string;
                tools: ({
                    description?: string | null;
                    name: string;
                    parameters?: {
                        [key: string]: unknown;
                    } | null;
                    strict?: boolean | null;
                    /** @enum {string} */
                    type: "function";
                } | {
                    description?: string | null;
                    format?: {
                        /** @enum {string} */
                        type: "text";
                    } | {
                        definition: string;
                        /** @enum {string} */
                        syntax: "lark" | "regex";
                        /** @enum {string} */
                        type: "grammar";
                    } | null;
                    name: string;
                    /** @enum {string} */
                    type: "custom";
                })[];
                /** @enum {string} */
                type: "namespace";
            } | {
                type: string;
            })[] | null;
            /** @description vLLM extension: sample from this many most likely tokens; 0 and -1 disable. */
            top_k?: number | null;
            top_logprobs?: number | null;
            top_p?: number | null;
            /**
             * @description Only disabled: a conversation that is too long is refused.
             * @enum {string|null}
             */
            truncation?: "disabled" | null;
            /** @description Accepted and ignored. */
            user?: string | null;
        };
        Run: {
            /** @description The step with the lowest validation loss. */
            best_step: number | null;
            best_validation_loss: number | null;
            created_at: number;
            error: string | null;
            /** @description The name under which this server serves its adapter. */
            fine_tuned_model: string | null;
            finished_at: number | null;
            id: string;
            /**
             * @description A run folder of the server's --runs, or a fine-tuning job.
             * @enum {string}
             */
            kind: "folder" | "job";
            /** @description Of the last step. */
            loss: number | null;
            method: string | null;
            /** @description The base; null until the first adapter of a folder names it. */
            model: string | null;
            name: string;
            /** @enum {string} */
            object: "run";
            settings: {
                [key: string]: string | number | boolean | null | (string | number | boolean | null)[];
            };
            /** @description The training loss in at most 48 means. */
            sparkline: number[];
            /**
             * @description interrupted: a folder's run is not complete, and nothing trains it now.
             * @enum {string}
             */
            status: "queued" | "running" | "paused" | "succeeded" | "failed" | "cancelled" | "interrupted";
            step: number;
            tenant: string | null;
            total_steps: number | null;
            trainable_parameters: number | null;
            /** @description Of the last evaluation. */
            validation_loss: number | null;
        };
        RunGraderRequest: {
            grader: components["schemas"]["Grader"];
            /** @description Fields of the line of data, as `item`. */
            item?: {
                [key: string]: unknown;
            } | null;
            /** @description The answer: `sample.output_text`, and `sample.output_json` where it is JSON. */
            model_sample: string;
        };
        RunGraderResponse: {
            metadata: {
                errors: {
                    formula_parse_error: boolean;
                    invalid_variable_error: boolean;
                    model_grader_parse_error: boolean;
                    model_grader_refusal_error: boolean;
                    model_grader_server_error: boolean;
                    model_grader_server_error_details: string | null;
                    other_error: boolean;
                    python_grader_runtime_error: boolean;
                    python_grader_runtime_error_details: string | null;
                    python_grader_server_error: boolean;
                    python_grader_server_error_type: string | null;
                    sample_parse_error: boolean;
                    truncated_observation_error: boolean;
                    unresponsive_reward_error: boolean;
                };
                /** @description Seconds. */
                execution_time: number;
                name: string;
                sampled_model_name: string | null;
                scores: {
                    [key: string]: number;
                };
                token_usage: number | null;
                type: string;
            };
            model_grader_token_usage_per_model: {
                [key: string]: {
                    completion_tokens: number;
                    prompt_tokens: number;
                    total_tokens: number;
                };
            };
            reward: number;
            /** @description Rewards of a multi grader's parts. */
            sub_rewards: {
                [key: string]: number;
            };
        };
        RunMetrics: {
            /** @description The last step that was measured, 0 without one. */
            last_step: number;
            /** @enum {string} */
            object: "run.metrics";
            /** @description With columns of an objective's own metrics. */
            training: {
                gradient_norm: (number | null)[];
                learning_rate: (number | null)[];
                loss: (number | null)[];
                step: number[];
                tokens_per_second: (number | null)[];
            } & {
                [key: string]: (number | null)[];
            };
            validation: {
                loss: (number | null)[];
                step: number[];
            } & {
                [key: string]: (number | null)[];
            };
        };
        SetAliasRequest: {
            /** @description Fail with 409 unless the alias is at this version; 0 requires that it does not exist. */
            expected_version?: number | null;
            model: string;
        };
        System: {
            batch: {
                active: number;
                /** @description Running requests of adapters by name. */
                adapters: {
                    [key: string]: number;
                };
                prefilling: number;
                slots: number;
            };
            caches: {
                adapters: {
                    evictions: number;
                    hits: number;
                    misses: number;
                };
                grammars: {
                    compiled: number;
                    hits: number;
                };
            };
            memory: {
                active_adapters: {
                    active: number;
                    bytes: number;
                    limit_bytes: number;
                };
                adapters: {
                    bytes: number;
                    limit_bytes: number;
                    registered: number;
                    resident: number;
                };
                /** @description As planned when the model was opened. */
                base_bytes: number | null;
                cache: {
                    bytes: number;
                    limit_bytes: number;
                    /** @description What holds tokens. */
                    used_bytes: number;
                };
                grammars: {
                    bytes: number;
                    resident: number;
                };
                processes: {
                    bytes: number;
                    /** @enum {string} */
                    name: "server" | "engine";
                }[];
            };
            model: string;
            /** @enum {string} */
            object: "system";
            queue: {
                /** @description Waiting requests of tenants by name. */
                tenants: {
                    [key: string]: number;
                };
                waiting: number;
            };
            started_at: number;
            /** @description Tokens of answers in each of the last 60 seconds. */
            token_history: number[];
            /** @description Since the engine started: prompt tokens computed and from the prefix cache, and answers. */
            tokens: {
                cached: number;
                completion: number;
                prompt: number;
            };
            /** @description Tokens of answers, over the last 10 seconds. */
            tokens_per_second: number;
            /** @description Null where no jobs are trained, and while their database does not answer. */
            training: {
                queue: {
                    /** @description Jobs that wait for other jobs of their tenant. */
                    held: number;
                    /** @description Waiting time of the oldest queued job. */
                    oldest_seconds: number;
                    paused: number;
                    queued: number;
                    running: number;
                    tenant: string;
                }[];
                workers: {
                    is_alive: boolean;
                    /** @description What it trains now. */
                    job: {
                        id: string;
                        model: string;
                        /** @description Steps until its last checkpoint. */
                        step: number;
                        steps: number | null;
                        tenant: string;
                    } | null;
                    /** @description The bases that it trains. */
                    models: string[];
                    name: string;
                    /** @description Its last heartbeat. */
                    seen_at: number;
                    started_at: number;
                    version: string;
                }[];
            } | null;
            uptime_seconds: number;
            version: string;
        };
        UpdateModelRequest: {
            /** @description Seconds from now. */
            expires_after?: number | null;
            /** @description Unix time in seconds. */
            expires_at?: number | null;
        };
        Usage: {
            completion_tokens: number;
            prompt_tokens: number;
            prompt_tokens_details: {
                /** @description Prompt tokens served from the prefix cache. */
                cached_tokens: number;
            };
            total_tokens: number;
        };
        UsageResult: {
            /** @description Name of the key, which is the tenant. */
            api_key_id: string;
            input_cached_tokens: number;
            input_tokens: number;
            model: string | null;
            num_model_requests: number;
            /** @enum {string} */
            object: "usage.result";
            output_tokens: number;
            /** @description Total time from arrival to end of the requests. */
            serving_seconds: number;
            trained_tokens: number;
            training_seconds: number;
        };
        ValidateGraderRequest: {
            grader: components["schemas"]["Grader"];
        };
        Webhook: {
            created_at: number;
            description: string | null;
            events: string[];
            id: string;
            /** @enum {string} */
            object: "webhook";
            organization_id: string;
            /** @enum {string} */
            status: "enabled" | "disabled";
            url: string;
        };
        WebhookDelivery: {
            attempts: number;
            created_at: number;
            data: {
                id: string;
            };
            error: string | null;
            /** @description The webhook-id header, the same for all attempts. */
            event: string;
            finished_at: number | null;
            id: string;
            next_attempt_at: number | null;
            /** @enum {string} */
            object: "webhook.delivery";
            /** @description HTTP status of the last attempt. */
            response_status: number | null;
            /** @enum {string} */
            status: "waiting" | "delivered" | "failed";
            type: string;
        } | null;
        WebhookRequest: {
            description?: string | null;
            /**
             * @default [
             *       "fine_tuning.job.succeeded",
             *       "fine_tuning.job.failed",
             *       "fine_tuning.job.cancelled"
             *     ]
             */
            events: ("fine_tuning.job.succeeded" | "fine_tuning.job.failed" | "fine_tuning.job.cancelled")[] | null;
            /** Format: uri */
            url: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
