/** Short names of what the REST API answers; `schema.d.ts` is made from its description. */

import type { components } from "./schema";

type Schemas = components["schemas"];

/** Of an answer by its name in the API's description. */
export type Answer<Name extends keyof Schemas> = Schemas[Name];

export type Row = Schemas["Row"];
export type JobList = Schemas["JobList"];
export type Counts = Schemas["Counts"];
export type Me = Schemas["Me"];
export type JobPage = Schemas["JobPage"];
