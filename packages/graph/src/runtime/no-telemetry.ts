// ONNX Runtime's own builds keep a device id and a queue of events in the user's cache folder, and send them. It reads
// this when it is loaded, so this module is imported before it.
process.env["ORT_DISABLE_TELEMETRY"] = "1";
