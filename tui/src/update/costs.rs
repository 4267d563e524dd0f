//! The bill, and the budget beside it.

use crate::model::{Group, Model, Weight};
use sprites_api::cost::{Costs, Standing};

/// A bill is here, with these lines.
pub(super) fn came(model: &mut Model, group: Group, outcome: Result<Box<Costs>, String>) {
    if let (Group::Sprite, Ok(costs)) = (group, &outcome) {
        told_standing(model, costs);
        model.costs = Some((**costs).clone());
    }
    if model.bill.0 == group {
        model.bill.1 = outcome.map(|costs| *costs).into();
    }
}

/// Says once when the budget comes to its end.
fn told_standing(model: &mut Model, costs: &Costs) {
    let standing = |costs: &Costs| costs.budget.standing(costs.total.cost_usd);
    let now = standing(costs);
    let before = model.costs.as_ref().map_or(Standing::Within, standing);
    if now == before {
        return;
    }
    let used = crate::number::dollars(costs.total.cost_usd);
    let most = crate::number::dollars(costs.budget.month_usd.unwrap_or_default());
    match now {
        Standing::Within => {}
        Standing::Near => model.say(Weight::Bad, format!("{used} of this month's budget of {most} is used.")),
        Standing::Over if costs.budget.sleep => model.say(
            Weight::Bad,
            format!("This month's budget of {most} is used up, and all sprites sleep; B raises it."),
        ),
        Standing::Over => model.say(Weight::Bad, format!("This month's budget of {most} is used up.")),
    }
}
