"""Words of headlines, as the tokens of `suite.index.text`: those that say little, directions, opposites."""

from __future__ import annotations

from suite.index.text import tokens

STOP = frozenset(
    tokens(
        "a an the of to in on at for by with from as is are was were be been it its his her their this that and or but "
        "than then after before over under into amid about up will would could may can has have had not no new say "
        "said 的 了 在 是 和 与 对 将 为 被 及 等 其 于 从 到 上 中 下 后 前 也 都 已 称 表示 据 一 不"
    )
)
COMMON_WORDS = frozenset(  # that many titles have
    tokens(
        "share shares stock stocks price prices market markets profit profits loss net sales revenue earnings result "
        "results quarter quarterly year annual month week day today q1 q2 q3 q4 first second third fourth h1 h2 fy "
        "rise rises rose fall falls fell drop drops dropped gain gains gained jump jumps jumped slump slumps surge "
        "surges surged plunge plunges plunged climb climbs slide slides soar soars tumble tumbles rally rallies beat "
        "beats miss misses estimate estimates expectations forecast forecasts outlook guidance cut cuts raise raises "
        "raised lift lifts hike hikes buy sell hold rating target upgrade upgrades downgrade downgrades analyst "
        "analysts trade trading investor investors deal bank company group inc corp ltd plc co high low record report "
        "reports update news percent pct million billion crore lakh dollar rs usd eur more less higher lower strong "
        "weak announce announces launch launches plan plans see sees hit hits end close closes open opens "
        "股价 股票 股份 公司 集团 市场 上涨 下跌 大涨 大跌 涨 跌 利润 净利润 营收 收入 亏损 同比 增长 下降 季度 年 月 "
        "日 亿 万 亿元 万元 美元 元 公布 发布 宣布 业绩 财报 报告 预期 目标价 评级 上调 下调 投资者 分析师 创 新高 新低"
    )
)
UP = frozenset(
    tokens(
        "rise rises rose gain gains gained jump jumps jumped surge surges surged climb climbs climbed soar soars "
        "soared rally rallies rallied rebound rebounds recover recovers beat beats upgrade upgrades upgraded raise "
        "raises raised lift lifts lifted hike hikes hiked approve approves approved win wins accept accepts expand "
        "expands 上涨 大涨 飙升 反弹 走高 上调 增长 批准 加息 扩大 超预期 增持 扭亏"
    )
)
DOWN = frozenset(
    tokens(
        "fall falls fell drop drops dropped slump slumps slumped plunge plunges plunged slide slides slid tumble "
        "tumbles tumbled sink sinks sank decline declines declined miss misses missed downgrade downgrades downgraded "
        "cut cuts lower lowers lowered reject rejects rejected deny denies denied lose loses lost shrink shrinks 下跌 "
        "大跌 暴跌 走低 下调 下降 下滑 否认 拒绝 降息 收缩 不及预期 减持 亏损"
    )
)
OPPOSITES = tuple(
    (tokens(one)[0], tokens(other)[0])
    for one, other in (
        ("opens", "closes"), ("opens", "shuts"), ("starts", "ends"), ("begins", "ends"), ("adds", "drops"),
        ("vote", "ends"), ("launches", "halts"), ("resumes", "halts"), ("hires", "fires"), ("buys", "sells"),
        ("joins", "leaves"), ("wins", "loses"), ("agrees", "refuses"), ("announces", "cancels"), ("批准", "拒绝"),
        ("开始", "结束"), ("买入", "卖出"), ("启动", "叫停"), ("开业", "关闭"),
    )
)  # fmt: skip
ACTS = frozenset(word for pair in OPPOSITES for word in pair)
