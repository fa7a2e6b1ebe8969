import { Button, Flex } from "@chakra-ui/react";
import { ArrowUp } from "lucide-react";

import type { JobListView } from "../../app/jobList";
import { number } from "../../lib/format";

/** "7 new": rows that came and are not shown, so that what one reads does not jump. */
export function FreshPill({ list }: { list: Pick<JobListView, "fresh" | "anew"> }) {
  if (!list.fresh) return null;
  const show = () => {
    document.querySelector('[data-testid="jobs"]')?.scrollTo({ top: 0 });
    list.anew();
  };
  return (
    <Flex justify="center" mb="2" role="status">
      <Button size="xs" colorPalette="brand" borderRadius="full" onClick={show}>
        <ArrowUp size={14} aria-hidden /> {number(list.fresh)} new
      </Button>
    </Flex>
  );
}
