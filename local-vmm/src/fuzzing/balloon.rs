//! The balloon: pages that a guest gives away become the file's again, and nothing else changes.

use super::devices::{BUFFER, HEADER};
use super::guest::{DATA, Guest, MEMORY, any_descriptor, descriptor};
use super::memory::{self, PAGE, of_file};
use crate::devices::balloon as device;
use arbitrary::{Result, Unstructured};
use std::collections::BTreeSet;
use std::ops::Range;

/// Queues of a case: two for pages one by one, two for reports. A fifth would be served as the fourth is.
const QUEUES: u64 = 4;
/// Bytes of numbers that a device looks at in a chain, at most.
const MOST_WORDS: usize = 4 * 1024;

/// The balloon.
pub fn balloon(data: &[u8]) {
    let _ = try_balloon(&mut Unstructured::new(data));
}

fn try_balloon(u: &mut Unstructured<'_>) -> Result<()> {
    let lists = (0..16).map(|_| list(u)).collect::<Result<Vec<_>>>()?;
    let guest = Guest::with(u, QUEUES as usize, &lists, whole_pages)?;
    let [inflate, deflate, reports @ ..] = guest.rings() else { unreachable!("it has four queues") };
    device::inflate(inflate, &guest.now());
    device::take_back(deflate, &guest.now());
    reports.iter().for_each(|ring| device::report(ring, &guest.now()));
    check(&guest);
    works(&guest);
    memory::check_around();
    Ok(())
}

/// Numbers of pages.
fn list(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut number = 0u32;
    let mut bytes = Vec::new();
    for _ in 0..u.int_in_range(0..=24)? {
        number = match u.int_in_range(0..=7u8)? {
            0 | 1 => number.wrapping_add(1),
            2 | 3 => number.wrapping_sub(1),
            4 => u.arbitrary()?,
            _ => u.int_in_range(0..=MEMORY as u32 / PAGE as u32 + 1)?,
        };
        bytes.extend(number.to_le_bytes());
    }
    Ok(bytes)
}

/// A descriptor of whole pages, or any.
fn whole_pages(u: &mut Unstructured<'_>, page: u64) -> Result<[u8; 16]> {
    if u.arbitrary()? {
        return any_descriptor(u, page);
    }
    let place = u.int_in_range(0..=MEMORY / PAGE)? * PAGE;
    let len = u.int_in_range(0..=8u32)? * PAGE as u32;
    Ok(descriptor(place as u64, len, u.int_in_range(0..=3)?, u.int_in_range(0..=15)?))
}

/// What must hold after the queues were served.
fn check(guest: &Guest) {
    let after = guest.read(0, MEMORY);
    let before = guest.before();
    let may = given(guest);
    for page in 0..MEMORY / PAGE {
        let begin = page * PAGE;
        let used = if (page as u64) < QUEUES { Guest::used_ring(page as u64) } else { begin..begin };
        let pieces = [begin..used.start, used.end..begin + PAGE];
        if pieces.iter().all(|piece| before[piece.clone()] == after[piece.clone()]) {
            continue;
        }
        let file = of_file(page);
        let is_file = pieces.iter().all(|piece| after[piece.clone()] == file[..piece.len()]);
        assert!(is_file, "page {page} is neither as it was nor the file's");
        assert!(may.as_ref().is_none_or(|may| may.contains(&page)), "page {page} was not given");
    }
}

/// Pages that the guest may have given away; none when it gave away what says so, because then that may have become anything.
fn given(guest: &Guest) -> Option<BTreeSet<usize>> {
    let before = guest.before();
    let mut pages = BTreeSet::new();
    // Tables and lists. A chain may lead to the same ones many thousand times.
    let mut told = BTreeSet::new();
    for number in [0, 2, 3] {
        for chain in guest.chains(number) {
            told.extend(chain.table.map(|table| (table.start, table.end)));
            let mut words = Vec::new();
            for (place, len, writes) in chain.parts {
                let end = place.saturating_add(len.into());
                if number > 0 && writes && end <= MEMORY as u64 {
                    if place.is_multiple_of(PAGE as u64) && len.is_multiple_of(PAGE as u32) {
                        pages.extend(place as usize / PAGE..end as usize / PAGE);
                    }
                } else if number == 0 && !writes && end <= MEMORY as u64 {
                    told.insert((place, end));
                    if words.len() < MOST_WORDS {
                        words.extend_from_slice(&before[place as usize..end as usize]);
                    }
                }
            }
            let numbers = words.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word) as usize);
            pages.extend(numbers.filter(|page| *page < MEMORY / PAGE));
        }
    }
    let tells = |place: Range<usize>| {
        told.iter().any(|(begin, end)| *begin < place.end as u64 && (place.start as u64) < *end)
    };
    // What lies in a used ring the device itself wrote over.
    let spoilt = (0..QUEUES).any(|number| tells(Guest::used_ring(number)));
    let lost = |page: &usize| *page < DATA as usize / PAGE || tells(page * PAGE..page * PAGE + PAGE);
    (!spoilt && !pages.iter().any(lost)).then_some(pages)
}

/// A good driver gives pages away in either way, and uses them again.
fn works(guest: &Guest) {
    let first = BUFFER as usize / PAGE;
    let state = |page: usize| guest.read((page * PAGE) as u64, PAGE);
    let fill = || guest.write(BUFFER, &[0xa5; 4 * PAGE]);
    fill();
    let ring = guest.offer(2, &[(BUFFER, 2 * PAGE as u32, true), (BUFFER + 3 * PAGE as u64, 100, true)]);
    device::report(&ring, &guest.now());
    assert_eq!(guest.used(2), Some(0));
    assert!((first..first + 2).all(|page| state(page) == of_file(page)), "reported pages stay");
    assert!((first + 2..first + 4).all(|page| state(page) == [0xa5; PAGE]), "pages are lost");
    fill();
    let numbers = [first + 3, first + 1].map(|page| (page as u32).to_le_bytes());
    guest.write(HEADER, numbers.as_flattened());
    let ring = guest.offer(0, &[(HEADER, 5, false), (HEADER + 5, 3, false)]);
    device::inflate(&ring, &guest.now());
    assert_eq!(guest.used(0), Some(0));
    for (page, given) in (first..).zip([false, true, false, true]) {
        assert_eq!(state(page), if given { of_file(page) } else { [0xa5; PAGE] });
    }
    let ring = guest.offer(1, &[(HEADER, 8, false)]);
    device::take_back(&ring, &guest.now());
    assert_eq!(guest.used(1), Some(0));
    fill();
    assert!((first..first + 4).all(|page| state(page) == [0xa5; PAGE]), "pages cannot be used again");
}
