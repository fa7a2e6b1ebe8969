/** How the reader wants the pages, and what to be told of. */

import { Box } from "@chakra-ui/react";
import { useEffect } from "react";
import { useLocation } from "react-router-dom";

import { PageHead, Section } from "../../parts/Section";
import { Filters } from "./Filters";
import { Look } from "./Look";
import { MyLimits } from "./MyLimits";
import { Notices } from "./Notices";

export default function Settings() {
  const { hash } = useLocation();
  useEffect(() => {
    if (hash.length > 1) document.getElementById(hash.slice(1))?.scrollIntoView();
  }, [hash]);
  return (
    <Box maxWidth="1000px">
      <PageHead title="Settings" />
      <Section id="look" title="Times and density">
        <Look />
      </Section>
      <Section id="notices" title="Notifications">
        <Notices />
      </Section>
      <Section id="filters" title="Saved filters">
        <Filters />
      </Section>
      <Section id="limits" title="My limits">
        <MyLimits />
      </Section>
    </Box>
  );
}
