import { Box, Flex, Skeleton, Stack, VisuallyHidden } from "@chakra-ui/react";
import { useEffect, useRef, type ReactNode } from "react";
import { Navigate, useLocation, useParams } from "react-router-dom";

import { useHome } from "../../app/home";
import { useKeys } from "../../app/keys";
import { useGo } from "../../app/links";
import { useMe } from "../../app/me";
import type { JobPage } from "../../app/types";
import { appName } from "../../lib/format";
import { stale } from "../../lib/stale";
import { isLive, look } from "../../lib/states";
import { Boundary } from "../../parts/Boundary";
import { Freshness, Trouble } from "../../parts/Freshness";
import { useJobActions } from "../../parts/JobActions";
import { AdminBox, Changes } from "./Changes";
import { Head } from "./Head";
import { InOut } from "./InOut";
import { LogTail } from "./LogTail";
import { Narrative } from "./Narrative";
import { NoSuchJob } from "./NoSuchJob";
import { Report } from "./Report";
import { Timings } from "./Timings";
import { useJobPage } from "./useJobPage";
import { WhereRan } from "./WhereRan";

/** The page of a job. */
export default function Job() {
  const { id = "" } = useParams();
  return <JobOf key={id} id={id} />;
}

function JobOf({ id }: { id: string }) {
  const { root } = useHome();
  const { live, admin, none } = useJobPage(id);
  const job = live.data;
  if (none) return <NoSuchJob />;
  if (job?.is_batch) return <Navigate to={`${root}/batches/${job.id}`} replace />;
  return (
    <>
      <Flex justify="end" mb="1">
        <Freshness live={live} />
      </Flex>
      <Trouble live={live} />
      {job ? (
        <Box {...stale(live.error?.passing)}>
          <Whole job={job} admin={admin} />
        </Box>
      ) : (
        !live.error && (
          <Stack gap="4" role="status" aria-busy aria-label="Loading">
            <Skeleton height="16" />
            <Skeleton height="24" />
            <Skeleton height="64" />
          </Stack>
        )
      )}
    </>
  );
}

function Whole({ job, admin }: { job: JobPage; admin: boolean }) {
  const me = useMe();
  const go = useGo();
  const actions = useJobActions({ asAdmin: admin });
  const { hash } = useLocation();
  const wanted = useRef(hash);
  useEffect(() => {
    // The router does not go to anchors; what is read later may move them, but not by much.
    const id = wanted.current.slice(1);
    if (/^[a-z]+$/.test(id)) document.getElementById(id)?.scrollIntoView();
    wanted.current = "";
  }, []);
  const live = isLive(job.status);
  const able = {
    id: job.id,
    status: job.status,
    user: job.owner,
    app: appName({ ...job.app }),
    running: job.timings?.running,
  };
  const cancel = () => actions.cancel(able);
  const retry = () => actions.retry(able);
  useKeys([
    ...(job.can?.cancel && me.may_write
      ? [{ key: "c", does: "cancel the job (asks first)", run: cancel }]
      : []),
    ...(job.can?.retry && me.may_write
      ? [{ key: "r", does: "retry the job (asks first)", run: retry }]
      : []),
    { key: "l", does: "open the full log", run: () => go(`/jobs/${job.id}/log`) },
  ]);
  const objects = job.narrative?.href?.replace(/\/narrative\/\d+$/, "/#dataview/") ?? null;
  const of = { id: job.id, admin, status: job.status };
  return (
    <>
      <VisuallyHidden role="status">{live ? "" : look(job.status).word}</VisuallyHidden>
      <Head job={job} admin={admin} onCancel={cancel} onRetry={retry} />
      <Part>
        <Narrative job={job} />
      </Part>
      <Part>
        <LogTail id={job.id} admin={admin} />
      </Part>
      <Part>
        <Report {...of} />
      </Part>
      <Part>
        <Timings job={job} />
      </Part>
      <Part>
        <InOut {...of} objects={objects} />
      </Part>
      <Part>
        <WhereRan job={job} />
      </Part>
      <Part>
        <Changes {...of} />
      </Part>
      {job.admin && <AdminBox admin={job.admin} schedulerId={job.scheduler_id ?? null} />}
      {actions.dialog}
    </>
  );
}

/** A defect of one part stays there. */
function Part({ children }: { children: ReactNode }) {
  return <Boundary>{children}</Boundary>;
}
