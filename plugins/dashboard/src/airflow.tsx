/** The dashboard within Airflow: one component for all places, which it knows by the address. */

import { useEffect } from "react";
import { useLocation, useNavigate, useParams } from "react-router-dom";

import { Dashboard, Frame, KnownReader } from "./app/App";
import { airflowHome, HomeProvider } from "./app/home";
import { Notice } from "./parts/Notice";
import { HomeCard } from "./pages/home/HomeCard";
import { RunTab } from "./pages/run/RunTab";

const home = airflowHome();

/** The host's own sign-in page brings the reader back to this address. */
function HostSignIn() {
  const next = encodeURIComponent(location.href);
  return (
    <Notice kind="info" title="Please sign in">
      <a href={`${home.airflow}/api/v2/auth/login?next=${next}`}>Sign in to Airflow</a> as somebody
      who may see EE2 jobs.
    </Notice>
  );
}

let settled = false;

/**
 * The host draws what it has just read through one component and, whenever it draws next, through
 * another one: React then begins anew, and what was typed till then is lost. So it is made to draw
 * again at once, by a step to where the reader is already.
 */
function useSettledHost(): void {
  const navigate = useNavigate();
  const here = useLocation();
  useEffect(() => {
    if (settled) return;
    settled = true;
    void navigate(here, { replace: true, state: here.state as unknown });
  }, [navigate, here]);
}

function Ee2Jobs() {
  useSettledHost();
  const { runId, dagId, page } = useParams();
  return (
    <HomeProvider value={home}>
      <Frame>
        <KnownReader signIn={<HostSignIn />}>
          {runId ? (
            <RunTab dagId={dagId ?? ""} runId={runId} />
          ) : page ? (
            <Dashboard />
          ) : (
            <HomeCard />
          )}
        </KnownReader>
      </Frame>
    </HomeProvider>
  );
}

// The host looks for the component under the name of the plugin's entry.
for (const name of ["EE2 jobs", "EE2 jobs of this run", "EE2 jobs at a glance"])
  Reflect.set(globalThis, name, Ee2Jobs);

export default Ee2Jobs;
