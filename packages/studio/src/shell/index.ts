export { ConnectionBanner } from "./connection-banner.tsx";
export { Navigation, useShellCommands } from "./navigation.tsx";
export { SignIn } from "./sign-in.tsx";
export { ViewFrame } from "./view-frame.tsx";
