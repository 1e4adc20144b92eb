//! A model of who may do what: capabilities, tokens and mappings as plain lists.
//!
//! It knows nothing of trees, tables or page tables. A capability is *kept* while somebody has it,
//! something is mapped under it, or one below it is kept; an object lives while one of its
//! capabilities is kept.

use abi::{Error, Handle, Mode, Rights, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    Domain(usize),
    /// A token that stands for a Share.
    Token,
    /// A token that stands for a Move.
    Transit,
}

#[derive(Debug)]
pub struct Node {
    pub object: usize,
    pub parent: Option<usize>,
    pub rights: Rights,
    pub holder: Holder,
    pub revoked: bool,
}

/// A handle that was given out once, to this domain.
#[derive(Clone, Copy, Debug)]
pub struct Issued {
    pub domain: usize,
    pub handle: Handle,
    pub node: usize,
    pub dropped: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub token: Token,
    pub from: usize,
    pub to: usize,
    pub node: usize,
    pub mode: Mode,
    /// What was moved: its place in the handles, and what it allowed.
    pub source: usize,
    pub before: Rights,
    pub open: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    pub domain: usize,
    pub node: usize,
    pub va: u64,
    pub writable: bool,
    /// It was taken away, and only its address is left.
    pub dead: bool,
}

#[derive(Debug, Default)]
pub struct Authority {
    pub nodes: Vec<Node>,
    pub handles: Vec<Issued>,
    pub tokens: Vec<Pending>,
    pub mappings: Vec<Mapped>,
    pub destroyed: Vec<usize>,
    pub ended: Vec<usize>,
}

impl Authority {
    pub fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub fn issue(&mut self, domain: usize, handle: Handle, node: usize) {
        self.nodes[node].holder = Holder::Domain(domain);
        self.handles.push(Issued {
            domain,
            handle,
            node,
            dropped: false,
        });
    }

    /// What a handle has to be good for.
    pub fn look_up(&self, issued: &Issued, needed: Rights) -> Result<usize, Error> {
        if issued.dropped || self.ended.contains(&issued.domain) {
            return Err(Error::BadHandle);
        }
        let node = &self.nodes[issued.node];
        let mine = Holder::Domain(issued.domain);
        match node.holder {
            _ if node.revoked => Err(Error::Revoked),
            Holder::Transit => Err(Error::InTransit),
            holder if holder != mine => Err(Error::BadHandle),
            _ if !node.rights.contains(needed) => Err(Error::Denied),
            _ => Ok(issued.node),
        }
    }

    pub fn is_below(&self, mut node: usize, above: usize) -> bool {
        while let Some(parent) = self.nodes[node].parent {
            if parent == above {
                return true;
            }
            node = parent;
        }
        false
    }

    fn is_mapped(&self, node: usize) -> bool {
        self.mappings.iter().any(|m| m.node == node && !m.dead)
    }

    pub fn is_kept(&self, node: usize) -> bool {
        let kept = |at: usize| {
            let node = &self.nodes[at];
            !node.revoked && (node.holder != Holder::Nobody || self.is_mapped(at))
        };
        let all = 0..self.nodes.len();
        kept(node)
            || all
                .into_iter()
                .any(|at| self.is_below(at, node) && kept(at))
    }

    pub fn is_alive(&self, object: usize) -> bool {
        let all = 0..self.nodes.len();
        all.into_iter()
            .any(|at| self.nodes[at].object == object && self.is_kept(at))
    }

    /// Whether somebody else could reach the memory behind a node, now or later.
    pub fn others_have_access(&self, node: usize) -> bool {
        let all = 0..self.nodes.len();
        all.into_iter().any(|at| {
            let other = &self.nodes[at];
            let held = other.holder != Holder::Nobody && other.rights.intersects(Rights::ACCESS);
            let same = at != node && other.object == self.nodes[node].object;
            same && !other.revoked && (held || self.is_mapped(at))
        })
    }

    /// Whether a node below another has a right that is not among `rights`.
    pub fn descendants_exceed(&self, node: usize, rights: Rights) -> bool {
        (0..self.nodes.len()).any(|at| {
            let kept = !self.nodes[at].revoked && self.is_kept(at);
            kept && self.is_below(at, node) && !rights.contains(self.nodes[at].rights)
        })
    }

    /// Kills the nodes that `which` names, and all that rests on them; returns those that were
    /// kept.
    pub fn kill(&mut self, which: impl Fn(&Authority, usize) -> bool) -> u64 {
        let doomed: Vec<_> = (0..self.nodes.len())
            .filter(|at| which(self, *at) && !self.nodes[*at].revoked)
            .collect();
        let count = doomed.iter().filter(|at| self.is_kept(**at)).count();
        for at in doomed {
            self.nodes[at].revoked = true;
            self.unmap_under(at);
            for pending in self.tokens.iter_mut().filter(|p| p.node == at) {
                pending.open = false;
            }
        }
        count as u64
    }

    pub fn unmap_under(&mut self, node: usize) {
        for mapping in self.mappings.iter_mut().filter(|m| m.node == node) {
            mapping.dead = true;
        }
    }

    /// A token that was not accepted gives back what it stood for.
    pub fn take_back(&mut self, token: usize) {
        self.tokens[token].open = false;
        let pending = self.tokens[token];
        let kept = pending.mode == Mode::Move && !self.ended.contains(&pending.from);
        let node = &mut self.nodes[pending.node];
        if kept {
            node.holder = Holder::Domain(pending.from);
            node.rights = pending.before;
        } else {
            node.holder = Holder::Nobody;
        }
    }

    /// A domain ends.
    pub fn end(&mut self, domain: usize) {
        for mapping in self.mappings.iter_mut().filter(|m| m.domain == domain) {
            mapping.dead = true;
        }
        for token in 0..self.tokens.len() {
            if self.tokens[token].open && self.tokens[token].to == domain {
                self.take_back(token);
            }
        }
        for node in &mut self.nodes {
            if node.holder == Holder::Domain(domain) {
                node.holder = Holder::Nobody;
            }
        }
        self.ended.push(domain);
    }
}
