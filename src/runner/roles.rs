//! A link whose ranks carry the spec's numbers instead of the launcher's.

use std::sync::Arc;

use crate::comm::{Channel, Event, Header, Landing, Link, LinkError, Payload, ReceiveId, SendId};
use crate::ids::Rank;

/// With `host:` in a spec its ranks are roles, and the process on that host plays the role
/// whatever number the launcher gave it. Process 0 always plays role 0.
pub struct Roles<'a> {
    link: &'a mut dyn Link,
    /// By role.
    process: Vec<Rank>,
    own: Rank,
}

impl<'a> Roles<'a> {
    /// Renames the ranks of `link`: process p plays `roles[p]`, a permutation.
    pub fn new(link: &'a mut dyn Link, roles: &[usize]) -> Self {
        let mut process = vec![Rank(0); roles.len()];
        for (index, &role) in roles.iter().enumerate() {
            process[role] = Rank::new(index);
        }
        let own = Rank::new(roles[link.rank().index()]);
        Self { link, process, own }
    }

    fn role(&self, process: Rank) -> Rank {
        let role = self
            .process
            .iter()
            .position(|&played_by| played_by == process);
        role.map_or(process, Rank::new)
    }
}

impl Link for Roles<'_> {
    fn rank(&self) -> Rank {
        self.own
    }

    fn size(&self) -> usize {
        self.link.size()
    }

    fn send(
        &mut self,
        channel: Channel,
        to: Rank,
        tag: u32,
        header: Header,
        payload: Option<Arc<dyn Payload>>,
    ) -> SendId {
        self.link
            .send(channel, self.process[to.index()], tag, header, payload)
    }

    fn receive(
        &mut self,
        channel: Channel,
        from: Rank,
        tag: u32,
        landing: Box<dyn Landing>,
    ) -> ReceiveId {
        self.link
            .receive(channel, self.process[from.index()], tag, landing)
    }

    fn poll(&mut self) -> Result<Option<Event>, LinkError> {
        self.link.poll().map_err(|mut error| {
            if let LinkError::Length { from: rank, .. }
            | LinkError::Silent { rank, .. }
            | LinkError::Aborted { by: rank } = &mut error
            {
                *rank = self.role(*rank);
            }
            error
        })
    }

    fn is_moving(&self) -> bool {
        self.link.is_moving()
    }

    fn abort(&mut self, code: i32) {
        self.link.abort(code);
    }

    fn close(&mut self) {
        self.link.close();
    }
}
