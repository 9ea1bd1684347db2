//! What `--profile` prints: a line for each host and each link, and where the rest is.

use super::print;
use crate::ids::Rank;
use crate::platform::{Host, Link};
use crate::runner::{End, Place, ProfileRequest, Profiled};

/// Prints what there is to print: the code to leave with in order, or to abort with.
pub fn leave(
    ended: Result<Option<Profiled>, End>,
    request: &ProfileRequest,
    place: &Place<'_>,
    rank: Rank,
) -> Result<i32, i32> {
    match ended {
        Ok(None) => Ok(0),
        Ok(Some(profiled)) => {
            let _whoever_listens = print(&text(&profiled, request));
            Ok(0)
        }
        Err(End::Agreed(code)) => Ok(code),
        Err(End::Abort(failure) | End::Stopped(failure, _)) => {
            place.say(rank, &failure);
            Err(failure.code)
        }
    }
}

fn text(profiled: &Profiled, request: &ProfileRequest) -> String {
    let platform = &profiled.platform;
    let mut text = format!(
        "# autodice-run {} --profile {}\n",
        env!("CARGO_PKG_VERSION"),
        request.model.display()
    );
    text += "#   host          slots threads      speed   memory      run  message    works\n";
    text += "#                               (GMAC/s)   (GB/s)     (us)     (us)         \n";
    let measured = |host: &&Host| profiled.hosts.contains(&host.name);
    for host in platform.hosts.iter().filter(measured) {
        text += &host_line(host);
    }
    text += "#\n#   link                        alpha     rate   loaded\n";
    text += "#                                (us)   (MB/s)   (MB/s)\n";
    let network = &platform.network;
    for (name, link) in [("any other", network.link), ("on one host", network.local)] {
        if let Some(link) = link {
            text += &link_line(name, link, None);
        }
    }
    for pair in &network.pairs {
        let name = pair.hosts.join(" ");
        text += &link_line(&name, pair.link, pair.loaded);
    }
    for (key, value) in &platform.profiled {
        text += &format!("# {key}: {value}\n");
    }
    text + &format!("# written to {}\n", request.output.display())
}

fn host_line(host: &Host) -> String {
    let number = |value: Option<f64>| value.map_or("-".into(), |x| format!("{x:.2}"));
    let speed = &host.speed;
    format!(
        "    {:<14}{:>5}{:>8}{:>11}{:>9}{:>9}{:>9}{:>9}\n",
        host.name,
        host.slots.unwrap_or(1),
        host.threads.unwrap_or(1),
        number(speed.gmac_per_s),
        number(speed.gb_per_s),
        number(speed.run_us),
        number(speed.message_us),
        host.times.len()
    )
}

fn link_line(name: &str, link: Link, loaded: Option<Link>) -> String {
    let loaded = loaded.map_or("-".into(), |link| format!("{:.2}", link.mb_per_s));
    let (alpha, rate) = (link.alpha_us, link.mb_per_s);
    format!("    {name:<24}{alpha:>9.1}{rate:>9.2}{loaded:>9}\n")
}
