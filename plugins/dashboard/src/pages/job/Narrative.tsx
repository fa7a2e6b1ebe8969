import { Link, Text } from "@chakra-ui/react";
import { ExternalLink } from "lucide-react";

import { PageLink } from "../../app/links";
import type { JobPage } from "../../app/types";
import { safeHref } from "../../lib/href";
import { query } from "../../lib/words";
import { Section } from "../../parts/Section";
import { Facts } from "./Facts";

/** a: the narrative in which the job ran. */
export function Narrative({ job }: { job: JobPage }) {
  const { narrative, app } = job;
  const href = safeHref(narrative?.href);
  const version = [app?.version, narrative?.tag].filter(Boolean).join(", ");
  if (!narrative?.ws_id)
    return (
      <Section id="narrative" title="Narrative">
        <Text fontSize="sm" color="fg.muted">
          It was not started from a narrative.
        </Text>
      </Section>
    );
  const title =
    narrative.title ?? `narrative ${narrative.ws_id} (deleted, or not to be read by you)`;
  return (
    <Section id="narrative" title="Narrative">
      <Facts
        facts={[
          [
            "Title",
            href ? (
              <Link
                key="t"
                href={href}
                target="_blank"
                rel="noopener noreferrer"
                textDecoration="underline"
              >
                <bdi>{title}</bdi> <ExternalLink size={12} aria-label="opens in a new tab" />
              </Link>
            ) : (
              <bdi key="t">{title}</bdi>
            ),
          ],
          [
            "Workspace",
            <PageLink
              key="w"
              to={`/jobs/narratives${query({ ws: narrative.ws_id })}`}
              textDecoration="underline"
            >
              {narrative.ws_id}: all its jobs
            </PageLink>,
          ],
          ["Cell", narrative.cell_id],
          ["Run", narrative.run_id],
          ["Owner of the job", job.owner],
          ["App", app?.app_id ?? app?.method],
          ["Version and tag", version],
        ]}
      />
    </Section>
  );
}
