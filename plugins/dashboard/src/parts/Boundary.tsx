import { Button } from "@chakra-ui/react";
import { Component, type ReactNode } from "react";

import { Notice } from "./Notice";

/** Keeps a defect of one part from taking the whole page down. */
export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <Notice
        kind="error"
        title="This part of the page has failed"
        action={
          <Button size="xs" variant="outline" onClick={() => this.setState({ error: null })}>
            Show it again
          </Button>
        }
      >
        It is a defect of the dashboard; your jobs are not concerned. {this.state.error.message}
      </Notice>
    );
  }
}
