//! `ironlb-backend NAME ADDRESS`: the lab's server as a process of its own.
//! `ironlb-backend --self-test`: makes a small lab as whoever calls it, root or not, and uses it.

use std::{env, io, process::ExitCode};

use ironlb_lab::{
    Lab,
    backend::{self, Program},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["--self-test"] => self_test(),
        [name, address] => serve(name, address),
        _ => {
            eprintln!("usage: ironlb-backend NAME ADDRESS:PORT | --self-test");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(name: &str, address: &str) -> Result<(), Box<dyn std::error::Error>> {
    match backend::serve(name, address.parse()?)? {}
}

fn self_test() -> Result<(), Box<dyn std::error::Error>> {
    Lab::enter()?;
    let lab = Lab::new("self-test")?;
    let lan = lab.switch("lan")?;
    let (server, client) = (lab.host("server")?, lab.host("client")?);
    server.connect(&lan, "eth0", &["10.0.0.1/24"])?;
    client.connect(&lan, "eth0", &["10.0.0.2/24"])?;
    let address = "10.0.0.1:80".parse().map_err(io::Error::other)?;
    server.backend(&Program::find()?, "self-test", address)?;
    println!("answered: {}", client.tcp_get(address)?);
    Ok(())
}
