//! Whose turn it is: a rota of people, and who replaces one who is on leave.

use jiff::civil::Date;

/// People who take turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rota {
    /// In the order of their turns.
    pub people: Vec<String>,
    /// The first day of the first one's turn.
    pub begins: Date,
    /// How many days a turn lasts; none counts as one.
    pub days: u32,
    /// Who is on leave, and when.
    pub leave: Vec<Leave>,
}

/// The leave of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Who.
    pub name: String,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
}

impl Rota {
    /// Who is on duty on a day: whose turn it is, or, when they are on leave, the next one who is
    /// not. If all are on leave, it is the one whose turn it is: someone on leave is better than no
    /// one. `None` if the rota is empty.
    pub fn on_duty(&self, day: Date) -> Option<&str> {
        let people = i64::try_from(self.people.len())
            .ok()
            .filter(|people| *people > 0)?;
        let since = day.duration_since(self.begins).as_hours().div_euclid(24);
        let turn = since
            .div_euclid(i64::from(self.days.max(1)))
            .rem_euclid(people);
        let turn = usize::try_from(turn).ok()?;
        let mut order = self
            .people
            .iter()
            .cycle()
            .skip(turn)
            .take(self.people.len());

        let first = self.people.get(turn)?;
        Some(order.find(|name| !self.is_away(name, day)).unwrap_or(first))
    }

    fn is_away(&self, name: &str, day: Date) -> bool {
        self.leave
            .iter()
            .any(|leave| leave.name == name && leave.from <= day && day <= leave.to)
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn rota(leave: &[(&str, &str, &str)]) -> Rota {
        let away = |(name, from, to): &(&str, &str, &str)| Leave {
            name: (*name).to_owned(),
            from: day(from),
            to: day(to),
        };

        Rota {
            people: ["Ann", "Bob", "Cy"].map(str::to_owned).to_vec(),
            begins: day("2026-01-05"),
            days: 7,
            leave: leave.iter().map(away).collect(),
        }
    }

    #[test]
    fn turns_go_round() {
        let rota = rota(&[]);
        for (text, who) in [
            ("2026-01-04", "Cy"),
            ("2026-01-05", "Ann"),
            ("2026-01-11", "Ann"),
            ("2026-01-12", "Bob"),
            ("2026-01-25", "Cy"),
            ("2026-01-26", "Ann"),
        ] {
            assert_eq!(rota.on_duty(day(text)), Some(who), "{text}");
        }

        assert_eq!(
            Rota {
                people: vec![],
                ..rota
            }
            .on_duty(day("2026-01-05")),
            None
        );
    }

    #[test]
    fn the_next_one_stands_in_for_who_is_on_leave() {
        let one = rota(&[("Ann", "2026-01-06", "2026-01-07")]);
        assert_eq!(one.on_duty(day("2026-01-05")), Some("Ann"));
        assert_eq!(one.on_duty(day("2026-01-06")), Some("Bob"));
        assert_eq!(one.on_duty(day("2026-01-07")), Some("Bob"));
        assert_eq!(one.on_duty(day("2026-01-08")), Some("Ann"));

        let two = rota(&[
            ("Ann", "2026-01-06", "2026-01-07"),
            ("Bob", "2026-01-06", "2026-01-06"),
        ]);
        assert_eq!(two.on_duty(day("2026-01-06")), Some("Cy"));

        let all = ["Ann", "Bob", "Cy"].map(|name| (name, "2026-01-06", "2026-01-06"));
        assert_eq!(rota(&all).on_duty(day("2026-01-06")), Some("Ann"));
    }

    proptest! {
        #[test]
        fn somebody_is_always_on_duty_and_never_somebody_on_leave_while_another_is_there(
            offset in -4000_i64..4000, days in 0_u32..30, away in prop::collection::vec((0_usize..3, -4000_i64..4000, 0_i64..3000), 0..4),
        ) {
            let plus = |days: i64| day("2026-01-05").checked_add(days.days()).unwrap();
            let people = rota(&[]).people;
            let leave: Vec<_> = away.iter()
                .map(|(who, from, long)| Leave { name: people[*who].clone(), from: plus(*from), to: plus(from + long) })
                .collect();
            let rota = Rota { days, leave, ..rota(&[]) };
            let today = plus(offset);
            let who = rota.on_duty(today).unwrap();

            let all_away = rota.people.iter().all(|name| rota.is_away(name, today));
            prop_assert!(all_away || !rota.is_away(who, today));
        }
    }
}
