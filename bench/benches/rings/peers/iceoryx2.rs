//! `iceoryx2`: a publisher and a subscriber of slices.

use std::sync::atomic::{AtomicU32, Ordering};

use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, Receiver, Seed, Sender};
use handover_bench::message::Sink;
use iceoryx2::node::Node;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{BackpressureStrategy, LogLevel, NodeBuilder, ipc, set_log_level};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

/// A service that nobody else uses.
pub struct Iceoryx2;

type Service = PortFactory<ipc::Service, [u8], ()>;

/// The publisher. What it belongs to lives as long.
pub struct IceoryxSender {
    publisher: Publisher<ipc::Service, [u8], ()>,
    _service: Service,
    _node: Node<ipc::Service>,
}

/// The subscriber. What it belongs to lives as long.
pub struct IceoryxReceiver {
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    _service: Service,
    _node: Node<ipc::Service>,
}

fn service(number: u32, owner: u32, slots: usize) -> (Node<ipc::Service>, Service) {
    set_log_level(LogLevel::Fatal);
    let node = NodeBuilder::new().create::<ipc::Service>();
    let node = node.expect("a node of this process");
    let name = format!("handover-bench/{owner}/{number}");
    let service = node
        .service_builder(&name.as_str().try_into().expect("a possible name"))
        .publish_subscribe::<[u8]>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(slots)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create();
    (node, service.expect("the name is ours"))
}

impl<const N: usize> Contender<N> for Iceoryx2 {
    type Sender = IceoryxSender;
    type Receiver = IceoryxReceiver;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let owner = std::process::id();
        let sender = move || {
            let (node, service) = service(number, owner, slots);
            let publisher = service
                .publisher_builder()
                .initial_max_slice_len(N)
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create();
            IceoryxSender {
                publisher: publisher.expect("the only publisher"),
                _service: service,
                _node: node,
            }
        };
        let receiver = move || {
            let (node, service) = service(number, owner, slots);
            let subscriber = service.subscriber_builder().create();
            IceoryxReceiver {
                subscriber: subscriber.expect("the only subscriber"),
                _service: service,
                _node: node,
            }
        };
        (Box::new(sender), Box::new(receiver))
    }
}

impl<const N: usize> Sender<N> for IceoryxSender {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        let Ok(sample) = self.publisher.loan_slice_uninit(N) else {
            return false;
        };
        // Until the subscriber has connected, nobody gets it.
        sample.write_from_slice(message).send() == Ok(1)
    }
}

impl<const N: usize> Receiver<N> for IceoryxReceiver {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if let Ok(Some(sample)) = self.subscriber.receive() {
            sink.copy(sample.payload());
        }
    }
}
