import "./theme/mantine";
import "@mantine/notifications/styles.css";
import "uplot/dist/uPlot.min.css";
import "./theme/global.css";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import type { Problem } from "./api/client";
import { LiveProvider } from "./app/live";
import { router } from "./app/router";
import { SessionGate } from "./app/session";
import { Boundary } from "./components/boundary";
import { nonce } from "./lib/nonce";
import { cssVariables, theme } from "./theme/theme";

setNonce(nonce);

/** What the server refuses it refuses again; everything else may have been a moment's trouble. */
function once(failures: number, error: unknown): boolean {
  const status = (error as Problem | null)?.status ?? 0;
  return failures < 1 && !(status >= 400 && status < 500);
}

const queries = new QueryClient({
  defaultOptions: { queries: { staleTime: 2000, retry: once, refetchOnWindowFocus: true } },
});
const place = document.getElementById("root");
if (!place) throw new Error("the page has no root");

createRoot(place).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      defaultColorScheme="auto"
      cssVariablesResolver={cssVariables}
      getStyleNonce={() => nonce}
    >
      <QueryClientProvider client={queries}>
        <Notifications position="bottom-right" />
        <Boundary order={1}>
          <SessionGate>
            <LiveProvider>
              <RouterProvider router={router} />
            </LiveProvider>
          </SessionGate>
        </Boundary>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
