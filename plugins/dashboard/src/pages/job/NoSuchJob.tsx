import { PageLink } from "../../app/links";
import { Empty } from "../../parts/Empty";

/** The same for what does not exist and for what this reader may not see. */
export function NoSuchJob() {
  return (
    <Empty title="No such job, or you may not see it.">
      <PageLink to="/jobs" textDecoration="underline">
        My jobs
      </PageLink>
    </Empty>
  );
}
