//! `ironlb-backend NAME ADDRESS:PORT...`: the lab's server as a process of its own.
//! `ironlb-backend --self-test`: makes a small lab as whoever calls it, root or not, and uses it.
//! `ironlb-backend --stay`: the same, and keeps the lab, for those who end this program from outside.

use std::{env, net::SocketAddr, process::ExitCode};

use ironlb_lab::{
    Lab,
    backend::{self, Program},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["--self-test"] => self_test().map(drop),
        ["--stay"] => self_test().map(|lab| lab.stay()),
        [name, addresses @ ..] if !addresses.is_empty() => serve(name, addresses),
        _ => {
            eprintln!("usage: ironlb-backend NAME ADDRESS:PORT... | --self-test | --stay");
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

fn serve(name: &str, addresses: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let addresses: Result<Vec<SocketAddr>, _> = addresses.iter().map(|text| text.parse()).collect();
    Ok(backend::serve(name, &addresses?)?)
}

fn self_test() -> Result<Lab, Box<dyn std::error::Error>> {
    Lab::enter()?;
    let lab = Lab::new("self-test")?;
    let lan = lab.switch("lan")?;
    let (server, client) = (lab.host("server")?, lab.host("client")?);
    server.connect(&lan, "eth0", &["10.0.0.1/24"])?;
    client.connect(&lan, "eth0", &["10.0.0.2/24"])?;
    let address = "10.0.0.1:80".parse()?;
    let process = server.backend(&Program::find()?, "self-test", &[address])?;
    println!("answered: {}", client.tcp_get(address)?);
    println!("process: {}", process.id());
    println!("directory: {}", lab.directory().display());
    Ok(lab)
}
