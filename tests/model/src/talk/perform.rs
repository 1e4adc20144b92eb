//! What each step does to both.

use abi::ring::Geometry;
use abi::{
    DeriveArgs, DeriveFlags, Error, Handle, HandleTransfer, RegionFlags, RevokeFlags, Rights, Token,
};
use ipc::{Narrowing, Outgoing, Platform};

use super::run::{Answer, Run};
use super::spec::{Given, Narrowed, Way};
use super::{Load, Step, Via};

impl Run {
    /// Both have a new handle, or the same reason why not.
    fn bind(
        &mut self,
        place: usize,
        register: usize,
        real: Result<Handle, Error>,
        expected: Result<usize, Error>,
    ) -> Answer {
        assert_eq!(real.map(drop), expected.map(drop));
        if let (Ok(real), Ok(number)) = (real, expected) {
            self.put(place, register, real, number);
        }
        Some(real.map(drop))
    }

    pub(super) fn perform(&mut self, step: Step) -> Answer {
        let ipc = self.ipc.clone();
        match step {
            Step::Region { process, handle } => {
                let made =
                    ipc.create_region(&*self.domain(process)?, 4096, RegionFlags::empty(), None);
                let number = self.spec.region(self.processes[process]);
                self.bind(process, handle, made, Ok(number))
            }
            Step::Notification { process, handle } => {
                let made = ipc.create_notification(&*self.domain(process)?);
                let number = self.spec.notification(self.processes[process]);
                self.bind(process, handle, made, Ok(number))
            }
            Step::Channel {
                process,
                first,
                second,
                capacity,
            } => {
                let made = ipc.create_channel(&*self.domain(process)?, capacity as u32);
                let made = made.expect("there is room");
                let [one, other] = self.spec.channel(self.processes[process], capacity);
                self.put(process, first, made.first, one);
                self.put(process, second, made.second, other);
                Some(Ok(()))
            }
            Step::Ring {
                process,
                first,
                second,
            } => {
                let made = ipc.create_ring(&*self.domain(process)?, Geometry::slot(64, 8));
                let (producer, consumer) = made.expect("there is room");
                let [one, other] = self.spec.ring(self.processes[process]);
                self.put(process, first, producer, one);
                self.put(process, second, consumer, other);
                Some(Ok(()))
            }
            Step::Signal {
                process,
                handle,
                bits,
            } => {
                let (real, number) = self.at(process, handle)?;
                let signalled = ipc.signal(&self.domains[process], real, bits);
                same(signalled, self.spec.signal(number, bits))
            }
            Step::Poll { process, handle } => {
                let (real, number) = self.at(process, handle)?;
                let bits = ipc.wait_notification(&self.domains[process], real, 0);
                same(bits, self.spec.poll(number))
            }
            Step::Send {
                process,
                end,
                word,
                first,
                second,
            } => self.send(process, end, word, [first, second]),
            Step::Receive {
                process,
                end,
                first,
                second,
            } => self.receive(process, end, [first, second]),
            Step::Pass { time } => {
                ipc.platform().advance_ns(time);
                ipc.lapse(ipc.platform().now_ns(), usize::MAX);
                self.spec.pass(time);
                Some(Ok(()))
            }
            Step::Exit { process } => self.exit(process),
            Step::Start {
                process,
                by,
                mine,
                theirs,
            } => self.start(process, by, mine, theirs),
            Step::Grant { .. } | Step::Accept { .. } | Step::Cancel { .. } => self.offer(step),
            _ => self.authorise(step),
        }
    }

    /// What is done with capabilities themselves.
    fn authorise(&mut self, step: Step) -> Answer {
        let ipc = self.ipc.clone();
        match step {
            Step::Know {
                process,
                of,
                handle,
            } => {
                let domain = self.domain(process)?;
                let (real, number) = self.known[process][of]?;
                let made = ipc.derive(&domain, real, Rights::all());
                let expected = self.spec.derive(number, Rights::all());
                self.bind(process, handle, made, expected)
            }
            Step::Derive {
                process,
                from,
                handle,
                rights,
            } => {
                let (real, number) = self.at(process, from)?;
                let made = ipc.derive(&self.domains[process], real, rights);
                let expected = self.spec.derive(number, rights);
                self.bind(process, handle, made, expected)
            }
            Step::Narrow {
                process,
                from,
                handle,
                rights,
                nodes,
                badge,
                until,
                once,
            } => {
                let (real, number) = self.at(process, from)?;
                let mut flags = DeriveFlags::empty();
                flags.set(DeriveFlags::ONE_SHOT, once);
                let args = DeriveArgs {
                    flags: flags.bits(),
                    badge,
                    deadline: until.0,
                    max_nodes: nodes,
                    ..DeriveArgs::new(rights)
                };
                let narrowing = Narrowing::decode(&args).expect("it makes sense");
                let made = ipc.derive_with(&self.domains[process], real, &narrowing);
                let wanted = Narrowed {
                    rights,
                    nodes,
                    badge,
                    until: until.0,
                    once,
                };
                let expected = self.spec.narrow(number, wanted);
                self.bind(process, handle, made, expected)
            }
            Step::Reduce {
                process,
                handle,
                rights,
            } => {
                let (real, number) = self.at(process, handle)?;
                let reduced = ipc.reduce(&self.domains[process], real, rights);
                same(reduced, self.spec.reduce(number, rights))
            }
            Step::Same {
                process,
                one,
                other,
            } => {
                let (one, other) = (self.at(process, one)?, self.at(process, other)?);
                let told = ipc.same_object(&self.domains[process], one.0, other.0);
                same(told, self.spec.same(one.1, other.1))
            }
            Step::Drop { process, handle } => {
                let (real, number) = self.at(process, handle)?;
                let dropped = ipc.drop_capability(&self.domains[process], real);
                same(dropped, self.spec.drop_handle(number))
            }
            Step::Revoke { process, handle } | Step::RevokeAll { process, handle } => {
                let (real, number) = self.at(process, handle)?;
                let itself = matches!(step, Step::RevokeAll { .. });
                let mut flags = RevokeFlags::empty();
                flags.set(RevokeFlags::ITSELF, itself);
                let revoked = ipc.revoke(&self.domains[process], real, flags);
                same(revoked, self.spec.revoke(number, itself))
            }
            _ => None,
        }
    }

    /// What leads to another process, for both.
    fn way(&self, process: usize, via: Via) -> Option<(Handle, Way)> {
        let (real, number) = match via {
            Via::Process(place) => self.known[process][place]?,
            Via::Hub(place) => return self.hub_way(process, place),
            Via::Handle(register) => self.at(process, register)?,
        };
        Some((real, Way::Handle(number)))
    }

    /// A token with some bits turned over, and the model's number of it if there ever was one like that.
    fn token(&self, register: usize, forged: u64) -> Option<(Token, Option<usize>)> {
        let bits = self.tokens[register]?.bits() ^ forged;
        Some((Token::from_bits(bits), self.issued.get(&bits).copied()))
    }

    /// What is done with offers.
    fn offer(&mut self, step: Step) -> Answer {
        let ipc = self.ipc.clone();
        match step {
            Step::Grant {
                process,
                handle,
                via,
                token,
                mode,
                rights,
                flags,
                until,
            } => {
                let domain = self.domain(process)?;
                let (real, number) = self.at(process, handle)?;
                let (via, way) = self.way(process, via)?;
                let granted = ipc.grant(&domain, real, via, mode, rights, flags, until.0);
                let wanted = Given {
                    mode,
                    rights,
                    flags,
                    until: until.0,
                };
                let expected = self.spec.grant(number, way, wanted);
                assert_eq!(granted.map(drop), expected.map(drop));
                if let (Ok(real), Ok(number)) = (granted, expected) {
                    let before = self.issued.insert(real.bits(), number);
                    assert_eq!(before, None, "a token was given out twice");
                    self.tokens[token] = Some(real);
                    self.slots.insert(real.index(), (real, number));
                }
                Some(granted.map(drop))
            }
            Step::Accept {
                process,
                token,
                forged,
                via,
                handle,
            } => {
                let domain = self.domain(process)?;
                let (token, number) = self.token(token, forged)?;
                let (via, way) = self.way(process, via)?;
                let accepted = ipc.accept(&domain, token, via);
                let expected = self.spec.accept(self.processes[process], number, way);
                self.bind(process, handle, accepted, expected)
            }
            Step::Cancel {
                process,
                token,
                forged,
            } => {
                let domain = self.domain(process)?;
                let (token, number) = self.token(token, forged)?;
                let cancelled = ipc.cancel(&domain, token);
                same(cancelled, self.spec.cancel(self.processes[process], number))
            }
            _ => None,
        }
    }

    fn send(&mut self, process: usize, end: usize, word: u64, loads: [Load; 2]) -> Answer {
        let (end, end_number) = self.at(process, end)?;
        let (mut transfers, mut carried) = (Vec::new(), Vec::new());
        for (mode, register) in loads.into_iter().filter_map(Load::get) {
            let (real, number) = self.at(process, register)?;
            transfers.push(HandleTransfer::new(real, mode, Rights::all()));
            carried.push((mode, number));
        }
        let message = Outgoing {
            bytes: &word.to_le_bytes(),
            transfers: &transfers,
        };
        let sent = self.ipc.send(&self.domains[process], end, message, 0);
        same(sent, self.spec.send(end_number, word, &carried))
    }

    fn receive(&mut self, process: usize, end: usize, registers: [usize; 2]) -> Answer {
        let (real, number) = self.at(process, end)?;
        let mut word = [0; 8];
        let received = self.ipc.receive(&self.domains[process], real, 0, |next| {
            word.copy_from_slice(next.bytes);
            Ok(())
        });
        let expected = self.spec.receive(number);
        match (received, expected) {
            (Ok(received), Ok((expected, badge, handles))) => {
                assert_eq!(u64::from_le_bytes(word), expected, "another message");
                assert_eq!(received.badge, badge, "the badge");
                assert_eq!(received.handles_len, handles.len(), "capabilities");
                for (at, number) in handles.into_iter().enumerate() {
                    let real = received.handles[at];
                    assert_eq!(real != Handle::NONE, number.is_some(), "capability {at}");
                    if let Some(number) = number {
                        self.put(process, registers[at], real, number);
                    }
                }
                Some(Ok(()))
            }
            (received, expected) => same(received.map(drop), expected.map(drop)),
        }
    }

    fn exit(&mut self, process: usize) -> Answer {
        let domain = self.domain(process)?;
        self.ended[process] = true;
        self.ipc.clear_domain(&domain);
        self.ipc.memory().destroy_space(domain.space());
        self.spec.exit(self.processes[process]);
        self.spec.collect();
        // What goes with a seat goes when its guest and the host are gone.
        let hub = self.ipc.object_count() - self.spec.object_count();
        assert!(hub <= self.hub.objects, "an end made objects");
        self.hub.objects = hub;
        Some(Ok(()))
    }

    fn start(&mut self, process: usize, by: usize, mine: usize, theirs: usize) -> Answer {
        if !self.ended[process] || self.ended[by] {
            return None;
        }
        self.hub.forget(process);
        self.domains[process] = super::setting::domain(&self.ipc);
        self.processes[process] = self.spec.start();
        self.ended[process] = false;
        self.handles[process] = Default::default();
        self.introduce_all(process);
        self.connect(by, process, mine, theirs);
        Some(Ok(()))
    }
}

/// The answer is the only right one.
fn same<T: PartialEq + std::fmt::Debug>(
    real: Result<T, Error>,
    expected: Result<T, Error>,
) -> Answer {
    assert_eq!(real, expected);
    Some(real.map(drop))
}
