//! Answers its argument as it is, and the job in capitals; reports once.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let mut job = String::new();
    io::stdin().read_to_string(&mut job)?;
    let mut progress = OpenOptions::new().write(true).open("/dev/fd/3")?;
    writeln!(progress, "50 shouting")?;
    println!("{}", env::args().nth(1).unwrap_or_default());
    print!("{}", job.to_uppercase());
    Ok(())
}
