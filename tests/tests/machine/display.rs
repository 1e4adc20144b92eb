//! The display of the machine: what two processes draw through one device region, pixel by pixel.

use std::fs::File;
use std::io::BufReader;

use crate::machines::{boot, exec, status};
use handover_tests::build::Profile;
use handover_tests::machine::{Display, Machine};
use handover_tests::qemu::Run;
use handover_tests::screen::Screen;
use programs::picture::{HEIGHT, WIDTH, pixel};

fn draw(machine: &Machine) -> Run {
    boot(Profile::GuestChecked, machine, b"", &exec("draw"))
}

/// What a machine with a display and so many CPUs shows at its end: pixels as `0x00RRGGBB`.
fn screen_of(cpus: u32) -> Vec<u32> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("screen.png");
    let screen = Screen::save_to(&file).expect("a place for the monitor");
    let machine = Machine {
        cpus,
        display: Display::Bochs,
        monitor: Some(screen.socket()),
        ..Machine::default()
    };
    let run = draw(&machine);
    assert_eq!(status(&run), 0);
    screen.finish().expect("the screen is saved");
    let file = BufReader::new(File::open(file).expect("the picture is there"));
    let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut bytes).expect("a whole picture");
    assert_eq!((info.width, info.height), (WIDTH, HEIGHT));
    assert_eq!(info.color_type, png::ColorType::Rgb);
    bytes[..info.buffer_size()]
        .chunks_exact(3)
        .map(|rgb| u32::from_be_bytes([0, rgb[0], rgb[1], rgb[2]]))
        .collect()
}

#[test]
fn two_processes_draw_one_picture_through_a_device_region() {
    for cpus in [1, 2] {
        let shown = screen_of(cpus);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (is, expected) = (shown[(y * WIDTH + x) as usize], pixel(x, y));
                assert_eq!(is, expected, "{cpus} CPUs: the pixel at {x}, {y}");
            }
        }
    }
}

#[test]
fn a_machine_without_a_display_has_nothing_to_draw_on() {
    let run = draw(&Machine::default());
    assert_eq!(status(&run), 1);
    let said = "draw: this machine has no display; --display gives it one";
    assert!(run.transcript.lines().iter().any(|line| line == said));
}

#[test]
fn a_machine_that_never_comes_has_no_screen() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("screen.png");
    let screen = Screen::save_to(&file).expect("a place for the monitor");
    let failure = screen.finish().expect_err("nothing was saved");
    assert!(failure.to_string().contains("screen.png"), "{failure}");
    assert!(!file.exists());
}
