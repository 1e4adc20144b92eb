//! `iceoryx2`: a publisher and a subscriber, of slices or of values of one type, and its events, at which one sleeps. Between
//! threads by the variant for one process.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, Receiver, Seed, Sender};
use handover_bench::message::Sink;
use iceoryx2::node::Node;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{BackpressureStrategy, LogLevel, NodeBuilder, ServiceName, set_log_level};
use iceoryx2::service::Service;
use iceoryx2::service::builder::Builder;
use iceoryx2::service::port_factory::{event, publish_subscribe};

/// Between processes.
pub type Shared = iceoryx2::prelude::ipc::Service;
/// Between threads.
pub type Local = iceoryx2::prelude::local::Service;

/// An end, with what it belongs to and outlives.
pub struct End<S: Service, Factory, Port> {
    port: Port,
    _service: Factory,
    _node: Node<S>,
}

/// A name that nobody else uses, also when both ends are processes.
#[derive(Clone, Copy)]
struct Name {
    owner: u32,
    number: u32,
}

impl Name {
    fn new() -> Self {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        Self {
            owner: std::process::id(),
            number: OPENED.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// An end at the service of this name, which whoever comes first makes.
    fn end<S: Service, Factory, Port>(
        self,
        service: impl FnOnce(Builder<S>) -> Factory,
        port: impl FnOnce(&Factory) -> Port,
    ) -> End<S, Factory, Port> {
        set_log_level(LogLevel::Fatal);
        let node = NodeBuilder::new().create::<S>();
        let node = node.expect("a node of this process");
        let name = format!("handover-bench/{}/{}", self.owner, self.number);
        let name: ServiceName = name.as_str().try_into().expect("a possible name");
        let service = service(node.service_builder(&name));
        End {
            port: port(&service),
            _service: service,
            _node: node,
        }
    }
}

macro_rules! publishing {
    ($(#[$documentation:meta])* $Name:ident, $Payload:ty, |$builder:ident| $limit:expr,
     |$publisher:ident, $message:ident| $loan:expr, |$payload:ident, $sink:ident| $take:expr) => {
        $(#[$documentation])*
        pub struct $Name<S>(PhantomData<S>);

        impl<S: Service + 'static, const N: usize> Contender<N> for $Name<S> {
            type Sender = End<S, publish_subscribe::PortFactory<S, $Payload, ()>, Publisher<S, $Payload, ()>>;
            type Receiver = End<S, publish_subscribe::PortFactory<S, $Payload, ()>, Subscriber<S, $Payload, ()>>;

            fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
                let name = Name::new();
                let service = move |builder: Builder<S>| {
                    let service = builder
                        .publish_subscribe::<$Payload>()
                        .enable_safe_overflow(false)
                        .subscriber_max_buffer_size(slots)
                        .max_publishers(1)
                        .max_subscribers(1)
                        .open_or_create();
                    service.expect("the name is ours")
                };
                let sender = move || {
                    name.end(service, |service| {
                        let $builder = service.publisher_builder();
                        let publisher = $limit
                            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                            .create();
                        publisher.expect("the only publisher")
                    })
                };
                let receiver = move || {
                    name.end(service, |service| {
                        let subscriber = service.subscriber_builder().create();
                        subscriber.expect("the only subscriber")
                    })
                };
                (Box::new(sender), Box::new(receiver))
            }
        }

        impl<S: Service, Factory, const N: usize> Sender<N> for End<S, Factory, Publisher<S, $Payload, ()>> {
            #[inline(always)]
            fn try_send(&mut self, $message: &[u8; N]) -> bool {
                let $publisher = &self.port;
                // Until the subscriber has connected, nobody gets it.
                $loan.is_ok_and(|sample| sample.send() == Ok(1))
            }
        }

        impl<S: Service, Factory, const N: usize> Receiver<N> for End<S, Factory, Subscriber<S, $Payload, ()>> {
            #[inline(always)]
            fn try_receive(&mut self, $sink: &mut Sink<N>) {
                if let Ok(Some(sample)) = self.port.receive() {
                    let $payload = sample.payload();
                    $take
                }
            }
        }
    };
}

publishing! {
    /// Messages of any length.
    Slices, [u8], |builder| builder.initial_max_slice_len(N),
    |publisher, message| publisher.loan_slice_uninit(N).map(|sample| sample.write_from_slice(message)),
    |payload, sink| sink.copy(payload)
}
publishing! {
    /// Values of one type.
    Values, [u8; N], |builder| builder,
    |publisher, message| publisher.loan_uninit().map(|sample| sample.write_payload(*message)),
    |payload, sink| sink.copy(payload)
}

/// Events, which carry no message: who is woken knows its number.
pub struct Events<S>(PhantomData<S>);

impl<S: Service + 'static> Contender<8> for Events<S> {
    type Sender = End<S, event::PortFactory<S>, Notifier<S>>;
    type Receiver = End<S, event::PortFactory<S>, Listener<S>>;

    fn open(_: &Arena, _: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let name = Name::new();
        let service = |builder: Builder<S>| {
            let service = builder
                .event()
                .max_notifiers(1)
                .max_listeners(1)
                .open_or_create();
            service.expect("the name is ours")
        };
        let sender = move || {
            name.end(service, |service| {
                let notifier = service.notifier_builder().create();
                notifier.expect("the only notifier")
            })
        };
        let receiver = move || {
            name.end(service, |service| {
                let listener = service.listener_builder().create();
                listener.expect("the only listener")
            })
        };
        (Box::new(sender), Box::new(receiver))
    }
}

impl<S: Service, Factory> Sender<8> for End<S, Factory, Notifier<S>> {
    #[inline(always)]
    fn try_send(&mut self, _: &[u8; 8]) -> bool {
        self.port.notify() == Ok(1)
    }
}

impl<S: Service, Factory> Receiver<8> for End<S, Factory, Listener<S>> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<8>) {
        let mut told = false;
        if self.port.blocking_wait(|_| told = true).is_ok() && told {
            let number = sink.count();
            sink.value(&number.to_ne_bytes());
        }
    }
}
