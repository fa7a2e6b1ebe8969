/** The dashboard on a page of its own, for people with a token and no account of Airflow's. */

import { ChakraProvider } from "@chakra-ui/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router-dom";

import { Dashboard, Frame, KnownReader } from "./app/App";
import { startColours } from "./app/colour";
import { aloneHome, HomeProvider } from "./app/home";
import { AloneCorner } from "./parts/AloneCorner";
import { SignIn } from "./parts/SignIn";
import { system } from "./theme";

startColours();
const home = aloneHome();
const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <ChakraProvider value={system}>
        <HomeProvider value={home}>
          <BrowserRouter basename={home.basename}>
            <Frame>
              <KnownReader signIn={<SignIn />}>
                <Dashboard corner={<AloneCorner />} />
              </KnownReader>
            </Frame>
          </BrowserRouter>
        </HomeProvider>
      </ChakraProvider>
    </StrictMode>,
  );
