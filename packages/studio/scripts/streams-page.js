// Runs in the page before its own scripts: streams of chats made within the browser, and notes of frames and long tasks.
const { rate, seconds } = globalThis.asked;
const words = "The lighthouse keeper walks up the stairs, lights the lamp and writes into the book.\n".match(
  /\S+\s/g,
);
const notes = { gaps: [], longTasks: [] };
globalThis.notes = notes;
// as behind a proxy with HTTP/2, where all streams run at once
Object.defineProperty(PerformanceNavigationTiming.prototype, "nextHopProtocol", { get: () => "h2" });
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) notes.longTasks.push(duration);
}).observe({ type: "longtask" });
let before;
const frame = (now) => {
  if (before !== undefined) notes.gaps.push(now - before);
  before = now;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
const encoder = new TextEncoder();
const event = (choice) => encoder.encode(`data: ${JSON.stringify({ choices: [choice] })}\n\n`);
const stream = () => {
  const start = performance.now();
  let sent = 0;
  const body = new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 4));
      const due = Math.min(((performance.now() - start) / 1000) * rate, rate * seconds);
      for (; sent < due; sent++)
        controller.enqueue(event({ delta: { content: words[sent % words.length] }, finish_reason: null }));
      if (sent < rate * seconds) return;
      controller.enqueue(event({ delta: {}, finish_reason: "stop" }));
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
};
const real = globalThis.fetch;
globalThis.fetch = async (input, init) =>
  String(input).includes("chat/completions") ? stream() : real(input, init);
