// Entry point mixture-of-shards/kit: what commands of add-ons share with ours. Unstable: it changes without notice.
export { type AddOn, defineServeAddOn, type OpenServeAddOn } from "./cli/add-ons.ts";
export { defineCommand, formatFlag, group } from "./cli/command.ts";
export { adapterOptions, model, quiet } from "./cli/common-options.ts";
export { counted, formatBar, formatDuration, paint, textTable } from "./cli/format.ts";
export { forceExit, listenForInterrupt } from "./cli/interrupt.ts";
export { engineProgress, findModel, pullProgress, userPlaces } from "./cli/loading.ts";
export { openLog } from "./cli/log.ts";
export { liveLine, printJson, printLine, thisRun, warn } from "./cli/terminal.ts";
export { completeTracking } from "./trackers/kinds.ts";
export { trackRun } from "./trackers/track.ts";
export { TRACKER_NAMES, type TrackOptions } from "./trackers/tracker.ts";
