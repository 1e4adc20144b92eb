//! What a fake machine is built like.

/// What machine to build.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Frames for the allocator, of 4 KiB each.
    pub frames: u64,
    /// CPUs, 1 to 64.
    pub cpus: usize,
    /// NUMA nodes that the frames and the CPUs are split among evenly.
    pub nodes: usize,
    /// Frames that boot filled before the allocator was there. See
    /// [`FakeMachine::initrd`](crate::FakeMachine::initrd).
    pub initrd_frames: u64,
    /// Frames of a device, between those of boot and those of the allocator. See
    /// [`FakeMachine::device`](crate::FakeMachine::device).
    pub device_frames: u64,
    /// Decides when interrupts arrive.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            frames: 4096,
            cpus: 4,
            nodes: 1,
            initrd_frames: 0,
            device_frames: 0,
            seed: 1,
        }
    }
}

impl Config {
    /// The number of the first frame of the allocator.
    pub(crate) fn first_frame(&self) -> u64 {
        1 + self.initrd_frames + self.device_frames
    }
}
